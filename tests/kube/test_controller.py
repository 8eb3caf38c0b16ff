"""The contract of reconcile, sentence by sentence."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from k8sext.kube.controller import Reconcile, Result, TemporaryError, work
from k8sext.kube.metrics import ControllerMetrics
from k8sext.kube.queue import WorkQueue
from k8sext.kube.request import ApiError, Unreachable
from tests.support.eventually import eventually_async

WITHIN = 30.0


def filled(*keys: str) -> WorkQueue[str]:
    queue: WorkQueue[str] = WorkQueue()
    for key in keys:
        queue.add(key)
    return queue


@asynccontextmanager
async def working(
    queue: WorkQueue[str], reconcile: Reconcile[str], workers: int = 1
) -> AsyncIterator[asyncio.Task[None]]:
    """Work for the length of a block, at the end of which everything that waits is done."""
    task = asyncio.create_task(work("test", queue, reconcile, workers))
    yield task
    queue.shut_down()
    await asyncio.wait_for(task, WITHIN)


async def test_no_key_is_reconciled_twice_at_the_same_time_and_different_keys_are_side_by_side() -> None:
    queue = filled(*"abc")
    at_work: Counter[str] = Counter()
    most_keys, count = 0, 0

    async def reconcile(key: str) -> None:
        nonlocal most_keys, count
        at_work[key] += 1
        assert at_work[key] == 1
        most_keys, count = max(most_keys, at_work.total()), count + 1
        for other in "abc" if count < 50 else "":
            queue.add(other)
        await asyncio.sleep(0)
        at_work[key] -= 1

    async with working(queue, reconcile, workers=8):
        pass
    assert most_keys == 3


async def test_a_key_added_during_its_reconcile_is_reconciled_once_more() -> None:
    queue, seen = filled("a"), list[str]()

    async def reconcile(key: str) -> None:
        seen.append(key)
        if len(seen) == 1:
            queue.add(key)
            queue.add(key)

    async with working(queue, reconcile, workers=2):
        while queue.working or len(queue) or not seen:
            await asyncio.sleep(0)
    assert seen == ["a", "a"]


async def test_a_result_says_when_to_look_again_though_nothing_changes() -> None:
    queue, again, began = filled("a"), asyncio.Event(), asyncio.get_running_loop().time()
    times: list[float] = []

    async def reconcile(key: str) -> Result | None:
        times.append(asyncio.get_running_loop().time() - began)
        if len(times) == 1:
            return Result(requeue_after=0.2)
        again.set()
        return None

    async with working(queue, reconcile):
        await asyncio.wait_for(again.wait(), WITHIN)
    assert len(times) == 2 and times[1] >= 0.2


@pytest.mark.parametrize(
    ("result", "failures"), [(None, 0), (Result(), 0), (Result(requeue_after=99), 0), (Result(settled=False), 1)]
)
async def test_what_settles_makes_the_next_failure_a_first_one_again(result: Result | None, failures: int) -> None:
    queue = filled()
    queue.add_rate_limited("a")
    done = asyncio.Event()

    async def reconcile(key: str) -> Result | None:
        done.set()
        return result

    async with working(queue, reconcile):
        await asyncio.wait_for(done.wait(), WITHIN)
    assert queue.retries("a") == failures


@pytest.mark.parametrize(
    ("error", "level", "with_traceback"),
    [
        (TemporaryError("the driver is away"), logging.WARNING, False),
        (Unreachable("no answer"), logging.WARNING, False),
        (ApiError(403, "Forbidden", "may not"), logging.WARNING, False),
        (ApiError(409, "Conflict", "old picture"), logging.DEBUG, False),
        (ApiError(404, "NotFound", "gone"), logging.DEBUG, False),
        (KeyError("spec"), logging.ERROR, True),
        (BaseExceptionGroup("two at once", [ValueError(), ValueError()]), logging.ERROR, True),
    ],
    ids=str,
)
async def test_a_key_whose_reconcile_raises_comes_again_and_holds_up_no_other(
    error: Exception, level: int, with_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "k8sext.kube.controller")
    queue, seen, last = filled("bad", "good"), Counter[str](), asyncio.Event()

    async def reconcile(key: str) -> None:
        seen[key] += 1
        if key == "bad" and seen[key] < 4:
            raise error
        if key == "bad":
            last.set()

    async with working(queue, reconcile):
        await asyncio.wait_for(last.wait(), WITHIN)
    assert seen == {"bad": 4, "good": 1} and queue.retries("bad") == 0
    found = [record for record in caplog.records if record.name == "k8sext.kube.controller"]
    assert [record.levelno for record in found] == [level] * 3
    assert [record.exc_info is not None for record in found] == [with_traceback] * 3
    assert found[0].getMessage().startswith("test bad is tried again: ")


async def test_a_key_that_keeps_failing_comes_later_each_time() -> None:
    queue, times = filled("a"), list[float]()

    async def reconcile(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        raise TemporaryError("never")

    async with working(queue, reconcile):
        await eventually_async(lambda: len(times) >= 6)
    for number in range(5):
        assert times[number + 1] - times[number] >= 0.005 * 2**number


async def test_a_reconcile_that_awaits_a_task_which_another_cancelled_has_failed_and_no_worker_is_lost() -> None:
    queue, seen, last = filled("a"), list[str](), asyncio.Event()

    async def reconcile(key: str) -> None:
        seen.append(key)
        if len(seen) < 3:
            other = asyncio.create_task(asyncio.sleep(60))
            other.cancel()
            await other
        last.set()

    async with working(queue, reconcile):
        await asyncio.wait_for(last.wait(), WITHIN)
    assert seen == ["a"] * 3


def decent(steps: Callable[[], object]) -> Reconcile[str]:
    async def reconcile(key: str) -> None:
        for _ in range(4):
            steps()
            await asyncio.sleep(0)

    return reconcile


def swallowing(steps: Callable[[], object]) -> Reconcile[str]:
    async def reconcile(key: str) -> None:
        with suppress(asyncio.CancelledError):
            await decent(steps)(key)

    return reconcile


def renaming(steps: Callable[[], object]) -> Reconcile[str]:
    async def reconcile(key: str) -> None:
        try:
            await decent(steps)(key)
        except asyncio.CancelledError as error:
            raise TemporaryError("cut off") from error

    return reconcile


@pytest.mark.parametrize("kind", [decent, swallowing, renaming])
@pytest.mark.parametrize("after", range(14))
async def test_cancelled_at_any_await_it_ends_at_once_and_no_key_stays_in_hand(
    kind: Callable[[Callable[[], object]], Reconcile[str]], after: int
) -> None:
    queue, steps = filled(*"abcd"), list[int]()
    task = asyncio.create_task(work("test", queue, kind(lambda: steps.append(0)), workers=2))
    for _ in range(after):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, WITHIN)
    done = len(steps)
    for _ in range(20):
        await asyncio.sleep(0)
    assert queue.working == [] and len(steps) == done


async def test_shut_down_lets_the_workers_finish_what_waits() -> None:
    queue, seen = filled(*"abc"), list[str]()

    async def reconcile(key: str) -> None:
        queue.shut_down()
        await asyncio.sleep(0.01)
        seen.append(key)

    await asyncio.wait_for(work("test", queue, reconcile), WITHIN)
    assert seen == ["a", "b", "c"]


async def test_the_figures_tell_the_three_ways_a_reconcile_ends() -> None:
    metrics = ControllerMetrics("weather")
    queue: WorkQueue[str] = WorkQueue(observer=metrics)

    async def reconcile(key: str) -> Result | None:
        if key == "bad":
            raise TemporaryError("no")
        return Result(requeue_after=60) if key == "later" else None

    for key in ("good", "later", "bad"):
        queue.add(key)
    queue.shut_down()
    await asyncio.wait_for(work("weather", queue, reconcile, 3, metrics), WITHIN)
    figures = metrics.text().decode()
    for result in ("success", "requeue_after", "error"):
        assert f'controller_runtime_reconcile_total{{controller="weather",result="{result}"}} 1.0' in figures
    assert 'controller_runtime_max_concurrent_reconciles{controller="weather"} 3.0' in figures
