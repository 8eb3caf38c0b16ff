"""The scheduling queue: who is next, who waits, and what moves whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from k8sext.scheduling import queue as queues
from k8sext.scheduling.profiles import ClusterEvent
from k8sext.scheduling.queue import SchedulingQueue, State
from k8sext.scheduling.snapshot import PodInfo, read_pod
from tests.scheduling.building import pod


def waiting(name: str, **spec: Any) -> PodInfo:
    return read_pod(pod(name, **spec))


@pytest.fixture
async def queue() -> SchedulingQueue:
    return SchedulingQueue()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "INITIAL_BACKOFF", 0.0)


async def take(queue: SchedulingQueue) -> Any:
    return await asyncio.wait_for(queue.pop(), 15)


async def test_the_most_important_pod_is_next_and_equals_go_in_order(queue: SchedulingQueue) -> None:
    for name, priority in (("low", 0), ("high", 100), ("low-too", 0)):
        queue.add(waiting(name, priority=priority))
    assert [(await take(queue)).pod.key for _ in range(3)] == ["default/high", "default/low", "default/low-too"]


async def test_a_pod_that_is_gone_is_not_handed_out(queue: SchedulingQueue) -> None:
    queue.add(waiting("gone"))
    queue.add(waiting("here"))
    queue.remove("default/gone")
    assert (await take(queue)).pod.key == "default/here"


async def test_a_gated_pod_waits_for_its_gates_to_open(queue: SchedulingQueue) -> None:
    queue.add(waiting("p", schedulingGates=[{"name": "wait"}]))
    assert queue.count(State.GATED) == 1
    queue.add(waiting("p"))
    assert (await take(queue)).pod.key == "default/p"


@pytest.mark.usefixtures("no_backoff")
async def test_an_unschedulable_pod_is_moved_by_what_may_help_it_and_by_nothing_else(queue: SchedulingQueue) -> None:
    queue.add(waiting("p"))
    queue.add_unschedulable(await take(queue), frozenset({ClusterEvent.ASSIGNED_POD_DELETE}))
    queue.move(ClusterEvent.NODE_LABEL_CHANGE)
    assert queue.count(State.UNSCHEDULABLE) == 1
    queue.move(ClusterEvent.ASSIGNED_POD_DELETE)
    assert (await take(queue)).attempts == 2


@pytest.mark.usefixtures("no_backoff")
async def test_what_happens_while_a_pod_is_in_flight_is_not_missed(queue: SchedulingQueue) -> None:
    queue.add(waiting("p"))
    in_flight = await take(queue)
    queue.move(ClusterEvent.NODE_ADD)
    queue.add_unschedulable(in_flight, frozenset({ClusterEvent.NODE_ADD}))
    assert (await take(queue)) is in_flight


async def test_a_moved_pod_waits_for_the_end_of_its_back_off(
    queue: SchedulingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "INITIAL_BACKOFF", 0.05)
    queue.add(waiting("p"))
    queue.requeue(await take(queue))
    assert queue.count(State.BACKOFF) == 1
    assert (await take(queue)).attempts == 2


async def test_the_back_off_doubles_up_to_a_limit(queue: SchedulingQueue) -> None:
    queue.add(waiting("p"))
    in_flight = await take(queue)
    in_flight.tried = 0.0
    delays = []
    for attempts in range(1, 7):
        in_flight.attempts = attempts
        delays.append(in_flight.ready)
    assert delays == [1, 2, 4, 8, 10, 10]


@pytest.mark.usefixtures("no_backoff")
async def test_an_unschedulable_pod_is_moved_when_it_requests_something_else_and_not_by_a_new_status(
    queue: SchedulingQueue,
) -> None:
    queue.add(waiting("p"))
    queue.add_unschedulable(await take(queue), frozenset())
    queue.add(waiting("p", status={}))
    assert queue.count(State.UNSCHEDULABLE) == 1
    queue.add(waiting("p", nodeSelector={"disk": "ssd"}))
    assert (await take(queue)).pod.requests.node_selector == (("disk", "ssd"),)


@pytest.mark.usefixtures("no_backoff")
async def test_pods_that_are_unschedulable_for_very_long_are_tried_again(
    queue: SchedulingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add(waiting("p"))
    queue.add_unschedulable(await take(queue), frozenset())
    queue.flush_unschedulable()
    assert queue.count(State.UNSCHEDULABLE) == 1
    monkeypatch.setattr(queues, "MAX_IN_UNSCHEDULABLE", -1.0)
    queue.flush_unschedulable()
    assert (await take(queue)).pod.key == "default/p"


async def test_a_pod_made_anew_under_the_same_name_starts_afresh(queue: SchedulingQueue) -> None:
    queue.add(waiting("p"))
    old = await take(queue)
    item = pod("p")
    item["metadata"]["uid"] = "another"
    queue.add(read_pod(item))
    assert not queue.holds(old)
    queue.done(old)
    assert (await take(queue)).attempts == 1
