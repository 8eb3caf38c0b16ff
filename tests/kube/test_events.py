"""The event recorder: written in the background, counted up, cut off."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient

from k8sext.kube.events import BURST, EventRecorder
from k8sext.kube.objects import reference_to
from tests.kube.conftest import Script

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "5"},
}


def accept(log: list[tuple[str, str, Any]]):
    async def step(request: web.Request) -> web.StreamResponse:
        log.append((request.method, request.path, json.loads(await request.read())))
        return web.json_response({})

    return step


async def test_an_event_tells_what_happened_to_what(script: Script, client: ApiClient) -> None:
    log: list[tuple[str, str, Any]] = []
    script.steps = [accept(log)]
    async with EventRecorder(client, "kubelet", "node-1") as recorder:
        recorder.event(reference_to(POD, "spec.containers{web}"), "Normal", "Started", "Container started")
    ((method, path, body),) = log
    assert (method, path) == ("POST", "/api/v1/namespaces/shop/events")
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "5",
        "fieldPath": "spec.containers{web}",
    }
    assert (body["reason"], body["type"], body["count"]) == ("Started", "Normal", 1)
    assert body["source"] == {"component": "kubelet", "host": "node-1"}
    assert body["metadata"]["name"].startswith("web.")


async def test_the_same_event_again_is_counted_up(script: Script, client: ApiClient) -> None:
    log: list[tuple[str, str, Any]] = []
    script.steps = [accept(log)] * 3
    async with EventRecorder(client, "kubelet") as recorder:
        for _ in range(3):
            recorder.event(reference_to(POD), "Warning", "BackOff", "again")
    assert [(method, body["count"]) for method, _, body in log] == [("POST", 1), ("PATCH", 2), ("PATCH", 3)]
    assert log[1][1] == f"/api/v1/namespaces/shop/events/{log[0][2]['metadata']['name']}"


async def test_an_event_that_was_cleared_away_is_written_anew(script: Script, client: ApiClient) -> None:
    async def gone(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": 404}, status=404)

    log: list[tuple[str, str, Any]] = []
    script.steps = [accept(log), gone, accept(log)]
    async with EventRecorder(client, "kubelet") as recorder:
        for _ in range(2):
            recorder.event(reference_to(POD), "Warning", "BackOff", "again")
    assert [(method, body["count"]) for method, _, body in log] == [("POST", 1), ("POST", 1)]


async def test_who_talks_too_much_is_cut_off(script: Script, client: ApiClient) -> None:
    log: list[tuple[str, str, Any]] = []
    script.steps = [accept(log)] * (BURST + 20)
    async with EventRecorder(client, "kubelet") as recorder:
        for number in range(BURST + 20):
            recorder.event(reference_to(POD), "Normal", "Chatter", f"number {number}")
    assert len(log) == BURST


async def test_a_server_that_refuses_events_disturbs_nobody(script: Script, client: ApiClient) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": 403}, status=403)

    log: list[tuple[str, str, Any]] = []
    script.steps = [refuse, accept(log)]
    async with EventRecorder(client, "kubelet") as recorder:
        recorder.event(reference_to(POD), "Normal", "One", "is lost")
        recorder.event(reference_to(POD), "Normal", "Two", "is kept")
    assert [body["reason"] for _, _, body in log] == ["Two"]


async def test_a_note_that_cannot_be_written_is_not_the_last(script: Script, client: ApiClient) -> None:
    log: list[tuple[str, str, Any]] = []
    script.steps = [accept(log)]
    async with EventRecorder(client, "kubelet") as recorder:
        recorder.event({"kind": "Pod", "uid": "u1"}, "Normal", "One", "about something without a name")
        recorder.event(reference_to(POD), "Normal", "Two", "is kept")
    assert [body["reason"] for _, _, body in log] == ["Two"]
