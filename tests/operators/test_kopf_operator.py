"""What the handlers for kopf do themselves, and, honestly, where kopf is weaker than the controller by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import kopf
import pytest
from kubernetes.aio.client import ApiClient

from k8sext.cluster import Cluster
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Unreachable, request
from k8sext.kube.resource import PODS
from k8sext.operators import kopf_operator
from k8sext.operators.plan import Plan, collector_pod
from tests.operators.conftest import Reports, Start, by_hand, by_kopf, ready, reason
from tests.support.eventually import eventually_async


def report(**metadata: Any) -> Json:
    names = {"name": "oslo", "namespace": "w", "uid": "u", "generation": 1}
    return {"apiVersion": "k8s.packt.com/v1", "kind": "WeatherReport", "metadata": names | metadata}


def body(of: Json) -> Any:
    return kopf.Body(cast(Any, of))


class World:
    """Takes the place of `reconcile`: notes what it is asked about, and refuses if the test says so."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[tuple[Json, list[Json]]] = []
        self.refusal = refusal

    async def reconcile(self, client: object, report: Json, pods: list[Json]) -> Plan:
        self.asked.append((report, pods))
        if self.refusal:
            raise self.refusal
        return Plan({})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(kopf_operator, "reconcile", found.reconcile)
    return found


MEMO = kopf.Memo(client=None)


async def test_a_handler_looks_at_the_report_and_its_pods(world: World) -> None:
    pod, handler = collector_pod(report()), cast(Any, kopf_operator.bring_about)
    await handler(body=body(report()), uid="u", retry=0, memo=MEMO, pods={"u": [pod], "another": [{}]})
    assert world.asked == [(report(), [pod])]


@pytest.mark.parametrize("refusal", [ApiError(409, "Conflict", "the object has been modified"), Unreachable("no")])
async def test_a_refusal_is_temporary_and_kopf_tries_again_later_each_time(world: World, refusal: Exception) -> None:
    world.refusal = refusal
    delays: list[float | None] = []
    handler: Any = kopf_operator.bring_about
    for retry in (0, 1, 5, 50):
        with pytest.raises(kopf.TemporaryError, match=str(refusal)) as caught:
            await handler(body=body(report()), uid="u", retry=retry, memo=MEMO, pods={})
        delays.append(caught.value.delay)
    assert delays == [0.1, 0.2, 3.2, 30.0]


@pytest.mark.parametrize(
    ("type", "state", "asked"),
    [
        ("DELETED", {}, 1),
        ("DELETED", {"deletionTimestamp": "2026-01-01T00:00:00Z"}, 0),
        ("MODIFIED", {}, 0),
        (None, {}, 0),
    ],
)
async def test_only_the_deletion_of_a_pod_whose_report_stays_is_news(
    world: World, type: str | None, state: Json, asked: int
) -> None:
    pod, handler = body(collector_pod(report())), cast(Any, kopf_operator.replace)
    await handler(type=type, body=pod, memo=MEMO, reports={"u": [report(**state)]}, pods={})
    assert len(world.asked) == asked


@pytest.mark.parametrize("refusal", [ApiError(409, "Conflict", "the object has been modified"), Unreachable("no")])
async def test_a_deletion_is_looked_at_until_that_succeeds_with_the_report_as_it_is_by_then(
    world: World, refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = {"u": [report(resourceVersion="1")]}

    async def reconcile(client: object, found: Json, pods: list[Json]) -> Plan:
        await World.reconcile(world, client, found, pods)
        if len(world.asked) < 3:
            reports["u"] = [report(resourceVersion=str(len(world.asked) + 1))]
            raise refusal
        return Plan({})

    handler: Any = kopf_operator.replace
    monkeypatch.setattr(kopf_operator, "reconcile", reconcile)
    await handler(type="DELETED", body=body(collector_pod(report())), memo=MEMO, reports=reports, pods={})
    assert [found["metadata"]["resourceVersion"] for found, _ in world.asked] == ["1", "2", "3"]


async def test_a_report_that_goes_meanwhile_is_looked_at_no_more(world: World) -> None:
    world.refusal = ApiError(404, "NotFound", "gone")
    reports = {"u": [report()]}

    async def forget() -> None:
        await eventually_async(lambda: world.asked)
        reports["u"] = []

    handler: Any = kopf_operator.replace
    async with asyncio.TaskGroup() as group:
        group.create_task(forget())
        group.create_task(
            handler(type="DELETED", body=body(collector_pod(report())), memo=MEMO, reports=reports, pods={})
        )
    assert len(world.asked) < kopf_operator.TRIES


@pytest.mark.parametrize(
    ("status", "under_way"),
    [({}, True), ({"state": "Collecting"}, True), ({"state": "Pending"}, True), ({"state": "Ready"}, False)],
)
def test_the_timer_looks_at_reports_under_way_and_at_no_others(status: Json, under_way: bool) -> None:
    assert kopf_operator.is_under_way(body({"status": status}).status) is under_way


@pytest.mark.cluster
@pytest.mark.parametrize("start", [by_hand, by_kopf])
async def test_a_pod_deleted_while_the_operator_is_down_is_replaced_when_it_starts(
    start: Start, cluster: Cluster, client: ApiClient, reports: Reports
) -> None:
    await reports.create("oslo", "Oslo")
    async with start(cluster, client, reports.namespace):
        await reports.until("oslo", ready)
    await request(client, "DELETE", PODS.path("oslo-1", reports.namespace))
    await eventually_async(lambda: _no_pods(reports))
    async with start(cluster, client, reports.namespace):
        await eventually_async(lambda: _pods(reports))
        await reports.until("oslo", ready)


@pytest.mark.cluster
@pytest.mark.parametrize(("start", "stays"), [(by_hand, False), (by_kopf, True)])
async def test_only_kopf_keeps_a_report_under_way_from_being_deleted_while_it_is_down(
    start: Start, stays: bool, cluster: Cluster, client: ApiClient, reports: Reports
) -> None:
    cluster.kubectl("delete", "rolebinding", "weather-collector", "-n", reports.namespace)
    await reports.create("oslo", "Oslo")
    async with start(cluster, client, reports.namespace):
        await reports.until("oslo", lambda found: reason(found) == "CollectorFailed")
    await reports.delete("oslo")
    assert [found["metadata"]["name"] for found in await reports.all()] == ["oslo"] * stays
    async with start(cluster, client, reports.namespace):
        await eventually_async(lambda: _none(reports))


async def _pods(reports: Reports) -> bool:
    return bool(await reports.pods())


async def _no_pods(reports: Reports) -> bool:
    return not await reports.pods()


async def _none(reports: Reports) -> bool:
    return not await reports.all()
