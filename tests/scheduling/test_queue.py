"""The scheduling queue: who is next, who waits, and what wakes whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from k8sext.scheduling import queue as queues
from k8sext.scheduling.profiles import Change
from k8sext.scheduling.queue import SchedulingQueue, State
from k8sext.scheduling.world import Pod, read_pod
from tests.scheduling.building import pod


def waiting(name: str, **spec: Any) -> Pod:
    return read_pod(pod(name, **spec))


@pytest.fixture
async def queue() -> SchedulingQueue:
    return SchedulingQueue()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "FIRST_BACKOFF", 0.0)


async def take(queue: SchedulingQueue) -> Any:
    return await asyncio.wait_for(queue.get(), 15)


async def test_the_most_important_pod_is_next_and_equals_go_in_order(queue: SchedulingQueue) -> None:
    for name, priority in (("low", 0), ("high", 100), ("low-too", 0)):
        queue.put(waiting(name, priority=priority))
    assert [(await take(queue)).pod.key for _ in range(3)] == ["default/high", "default/low", "default/low-too"]


async def test_a_pod_that_is_gone_is_not_handed_out(queue: SchedulingQueue) -> None:
    queue.put(waiting("gone"))
    queue.put(waiting("here"))
    queue.remove("default/gone")
    assert (await take(queue)).pod.key == "default/here"


async def test_a_gated_pod_waits_for_its_gates_to_open(queue: SchedulingQueue) -> None:
    queue.put(waiting("p", schedulingGates=[{"name": "wait"}]))
    assert queue.count(State.GATED) == 1
    queue.put(waiting("p"))
    assert (await take(queue)).pod.key == "default/p"


@pytest.mark.usefixtures("no_backoff")
async def test_a_parked_pod_wakes_for_what_may_help_it_and_for_nothing_else(queue: SchedulingQueue) -> None:
    queue.put(waiting("p"))
    queue.park(await take(queue), frozenset({Change.POD_GONE}))
    queue.wake(Change.NODE_LABELS)
    assert queue.count(State.PARKED) == 1
    queue.wake(Change.POD_GONE)
    assert (await take(queue)).attempts == 2


@pytest.mark.usefixtures("no_backoff")
async def test_what_happens_while_a_pod_is_in_hand_is_not_missed(queue: SchedulingQueue) -> None:
    queue.put(waiting("p"))
    in_hand = await take(queue)
    queue.wake(Change.NODE_CAME)
    queue.park(in_hand, frozenset({Change.NODE_CAME}))
    assert (await take(queue)) is in_hand


async def test_a_woken_pod_waits_for_the_end_of_its_back_off(
    queue: SchedulingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "FIRST_BACKOFF", 0.05)
    queue.put(waiting("p"))
    queue.retry(await take(queue))
    assert queue.count(State.BACKOFF) == 1
    assert (await take(queue)).attempts == 2


async def test_the_back_off_doubles_up_to_a_limit(queue: SchedulingQueue) -> None:
    queue.put(waiting("p"))
    in_hand = await take(queue)
    in_hand.tried = 0.0
    delays = []
    for attempts in range(1, 7):
        in_hand.attempts = attempts
        delays.append(in_hand.ready)
    assert delays == [1, 2, 4, 8, 10, 10]


@pytest.mark.usefixtures("no_backoff")
async def test_a_parked_pod_that_changes_what_it_demands_wakes_and_a_new_status_does_not(
    queue: SchedulingQueue,
) -> None:
    queue.put(waiting("p"))
    queue.park(await take(queue), frozenset())
    queue.put(waiting("p", status={}))
    assert queue.count(State.PARKED) == 1
    queue.put(waiting("p", nodeSelector={"disk": "ssd"}))
    assert (await take(queue)).pod.demands.node_selector == (("disk", "ssd"),)


@pytest.mark.usefixtures("no_backoff")
async def test_pods_that_are_parked_for_very_long_are_tried_again(
    queue: SchedulingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put(waiting("p"))
    queue.park(await take(queue), frozenset())
    queue.wake_oldest()
    assert queue.count(State.PARKED) == 1
    monkeypatch.setattr(queues, "LONGEST_PARKING", -1.0)
    queue.wake_oldest()
    assert (await take(queue)).pod.key == "default/p"


async def test_a_pod_made_anew_under_the_same_name_starts_afresh(queue: SchedulingQueue) -> None:
    queue.put(waiting("p"))
    old = await take(queue)
    item = pod("p")
    item["metadata"]["uid"] = "another"
    queue.put(read_pod(item))
    assert not queue.holds(old)
    queue.done(old)
    assert (await take(queue)).attempts == 1
