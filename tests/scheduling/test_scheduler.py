"""The scheduler on a real API server: wait, find, bind, and what can come in between."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Unreachable
from k8sext.kube.watch import Listed, list_and_watch
from k8sext.scheduling import queue as queues
from k8sext.scheduling.binder import Binder
from k8sext.scheduling.profiles import KUBE
from k8sext.scheduling.scheduler import Scheduler
from k8sext.scheduling.snapshot import PodInfo
from tests.scheduling.building import node, pod, taint
from tests.scheduling.conftest import Api
from tests.support.eventually import eventually_async

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "INITIAL_BACKOFF", 0.05)


@asynccontextmanager
async def scheduling(api: Api, **options: Any) -> AsyncIterator[Scheduler]:
    """Run a scheduler called `ours` for the length of a block."""
    scheduler = Scheduler(api.client, "ours", KUBE, **options)
    task = asyncio.create_task(scheduler.run())
    try:
        await eventually_async(lambda: scheduler.ready or task.done())
        assert not task.done(), task.exception()
        yield scheduler
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def wanted(name: str, **more: Any) -> Json:
    return pod(name, schedulerName="ours", **more)


async def test_a_pod_that_asks_for_it_is_placed_and_told_so(api: Api) -> None:
    said: list[str] = []
    await api.create(node("n"), wanted("p"), pod("not-ours", schedulerName="another"))
    async with scheduling(api, say=said.append):
        assert await api.bound("p") == {"p": "n"}
        await eventually_async(lambda: api.events("Scheduled"))
    assert said == ["Assigning default/p to n"]
    assert await api.events("Scheduled") == ["Successfully assigned default/p to n"]
    assert "nodeName" not in (await api.pod("not-ours"))["spec"]


async def test_a_pod_that_fits_nowhere_says_why_and_is_placed_when_a_node_comes(api: Api) -> None:
    await api.create(
        node("full", capacity={"cpu": "1"}), node("tainted", taints=[taint("x")]), wanted("p", requests={"cpu": "2"})
    )
    async with scheduling(api):
        message = await api.pending("p")
        assert message == "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
        await eventually_async(lambda: api.events("FailedScheduling"))
        assert await api.events("FailedScheduling") == [message]
        await api.create(node("new"))
        assert await api.bound("p") == {"p": "new"}


@pytest.mark.parametrize("help", ["pod gone", "taint removed", "uncordoned", "label", "bigger"])
async def test_what_can_help_wakes_a_waiting_pod(api: Api, help: str) -> None:
    size = {"cpu": "1"} if help in ("pod gone", "bigger") else {}
    taints = [taint("x")] if help == "taint removed" else []
    await api.create(node("n", capacity=size, taints=taints, unschedulable=help == "uncordoned"))
    if help == "pod gone":
        await api.create(pod("old", "n", requests={"cpu": "1"}))
    selector = {"nodeSelector": {"disk": "ssd"}} if help == "label" else {}
    await api.create(wanted("p", requests={"cpu": "1500m" if help == "bigger" else "1"}, **selector))
    async with scheduling(api):
        await api.pending("p")
        match help:
            case "pod gone":
                await api.delete("old")
            case "taint removed":
                await api.patch("nodes/n", {"spec": {"taints": None}})
            case "uncordoned":
                await api.patch("nodes/n", {"spec": {"unschedulable": None}})
            case "label":
                await api.patch("nodes/n", {"metadata": {"labels": {"disk": "ssd"}}})
            case "bigger":
                await api.patch("nodes/n/status", {"status": {"allocatable": {"cpu": "2"}}})
        assert await api.bound("p") == {"p": "n"}


async def test_a_gated_pod_is_left_alone_until_its_gates_open(api: Api) -> None:
    await api.create(node("n"), wanted("gated", schedulingGates=[{"name": "example.com/wait"}]))
    async with scheduling(api):
        await api.create(wanted("free"))
        await api.bound("free")
        assert "nodeName" not in (await api.pod("gated"))["spec"]
        await api.patch("namespaces/default/pods/gated", {"spec": {"schedulingGates": None}})
        await api.bound("gated")


async def test_a_pod_with_a_persistent_volume_is_refused_with_a_sentence(api: Api) -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    await api.create(node("n"), wanted("p", volumes=volumes))
    async with scheduling(api):
        assert (
            await api.pending("p")
            == "this scheduler knows nothing of persistent volumes: leave the pod to default-scheduler"
        )


async def test_on_request_a_pod_carries_the_tables_of_its_decision(api: Api) -> None:
    item = wanted("p")
    item["metadata"]["annotations"] = {"scheduling.k8sext.io/explain": "true"}
    await api.create(node("n"), node("tainted", taints=[taint("x")]), item)
    async with scheduling(api):

        async def annotations() -> Json:
            return (await api.pod("p"))["metadata"]["annotations"]

        async def written() -> bool:
            return "scheduling.k8sext.io/node" in await annotations()

        await eventually_async(written)
    found = await annotations()
    assert found["scheduling.k8sext.io/node"] == "n"
    assert json.loads(found["scheduling.k8sext.io/filters"]) == {
        "tainted": "TaintToleration: node(s) had untolerated taint(s)"
    }
    assert set(json.loads(found["scheduling.k8sext.io/scores"])) == {"n"}


async def test_a_pod_that_somebody_else_binds_first_stays_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.create(node("ours"), node("theirs", unschedulable=True))
    real = Binder.bind

    async def late(self: Binder, item: PodInfo, name: str) -> None:
        await real(self, item, "theirs")
        await real(self, item, name)  # 409: it is bound already

    monkeypatch.setattr(Binder, "bind", late)
    async with scheduling(api) as scheduler:
        await api.create(wanted("p"))
        assert await api.bound("p") == {"p": "theirs"}
        await eventually_async(lambda: not len(scheduler.queue))
        assert list(scheduler.cache.nodes["theirs"].pods) == ["default/p"]
        assert not scheduler.cache.nodes["ours"].pods


async def test_a_pod_deleted_between_decision_and_binding_leaves_nothing_behind(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.create(node("n"))
    real = Binder.bind

    async def too_late(self: Binder, item: PodInfo, name: str) -> None:
        await api.delete(item.item["metadata"]["name"])
        await real(self, item, name)

    monkeypatch.setattr(Binder, "bind", too_late)
    async with scheduling(api) as scheduler:
        await api.create(wanted("p", requests={"cpu": "4"}))
        await eventually_async(lambda: not len(scheduler.queue) and not scheduler.cache.nodes["n"].pods)
        assert scheduler.cache.nodes["n"].requested.get("cpu", 0) == 0


async def test_a_node_that_vanishes_between_decision_and_binding_gets_no_pod(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.create(node("vanishing"))
    async with scheduling(api) as scheduler:
        schedule, left = scheduler._framework.schedule, []

        def schedule_and_lose(item: PodInfo) -> Any:
            decision = schedule(item)
            if not left:
                left.append(scheduler.cache.remove_node("vanishing"))
            return decision

        monkeypatch.setattr(scheduler._framework, "schedule", schedule_and_lose)
        await api.create(wanted("p"))
        await eventually_async(lambda: left)
        await api.delete("vanishing", "nodes")
        await api.create(node("other"))
        assert await api.bound("p") == {"p": "other"}


@pytest.mark.parametrize("arrived", [True, False])
async def test_when_the_answer_of_a_binding_is_lost_the_truth_is_asked_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    await api.create(node("n"))
    real, tries = Binder.bind, []

    async def cut(self: Binder, item: PodInfo, name: str) -> None:
        tries.append(name)
        if arrived or len(tries) > 1:
            await real(self, item, name)
        if len(tries) == 1:
            raise Unreachable("the line was cut")

    monkeypatch.setattr(Binder, "bind", cut)
    async with scheduling(api) as scheduler:
        await api.create(wanted("p", requests={"cpu": "4"}))
        await api.bound("p")
        await eventually_async(lambda: not len(scheduler.queue))
        assert len(tries) == (1 if arrived else 2)
        assert scheduler.cache.nodes["n"].requested["cpu"] == 4000


async def test_a_binding_that_the_server_refuses_is_tried_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = Binder.bind, []

    async def refused_once(self: Binder, item: PodInfo, name: str) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise ApiError(409, "Conflict", "the object has been modified")
        await real(self, item, name)

    monkeypatch.setattr(Binder, "bind", refused_once)
    await api.create(node("n"), wanted("p"))
    async with scheduling(api):
        assert await api.bound("p") == {"p": "n"}


async def test_fifty_at_once_come_and_go_and_no_node_ever_holds_too_much(api: Api) -> None:
    await api.create(*(node(f"n{number}", capacity={"cpu": "3", "pods": "4"}) for number in range(4)))
    places: dict[str, str] = {}
    watcher = asyncio.create_task(overfull(api, places, most=3))
    async with scheduling(api):
        await asyncio.gather(*(come_and_go(api, places, f"p{number}", rounds=3) for number in range(50)))
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher


async def come_and_go(api: Api, places: dict[str, str], name: str, rounds: int) -> None:
    for name_now in (f"{name}-{turn}" for turn in range(rounds)):
        await api.create(wanted(name_now, requests={"cpu": "1"}))
        await eventually_async(functools.partial(places.get, name_now))
        await api.delete(name_now)


async def overfull(api: Api, places: dict[str, str], most: int) -> None:
    """Note where pods are, and fail as soon as a node holds more than it may, in the order in which the API server saw
    it."""
    async for change in list_and_watch(api.client, "/api/v1/namespaces/default/pods"):
        for item in change.items if isinstance(change, Listed) else [change.object]:
            places[item["metadata"]["name"]] = item["spec"].get("nodeName", "")
        if not isinstance(change, Listed) and change.type == "DELETED":
            del places[change.object["metadata"]["name"]]
        counts = Counter(place for place in places.values() if place)
        assert max(counts.values(), default=0) <= most, counts
