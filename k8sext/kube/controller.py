"""The loop of every controller: workers take keys from a queue and reconcile them; and what reconcile may rely on.

What you write is one function, `async def reconcile(key)`. It brings the world nearer to what one object asks for.
The contract is that of controller-runtime (https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/reconcile):

* It gets a **key**, usually "namespace/name", and nothing else. No event, no object: it looks up what there is now,
  in the stores of its informers, and decides by that alone. Controllers are *level-triggered*: a pod that is missing
  counts, not the news of its deletion, so events may be lost, doubled or late. A key whose object is gone is an
  ordinary key: look, clean up what is left, return.
* It is **idempotent**: it may be called at any time, also when all is well, and again after it was killed anywhere in
  the middle.
* It **returns** None when nothing is left to do until something changes, or a `Result` that says when to look again.
* It **raises** when it cannot go on. Then the key comes again by itself, later each time: after 5 ms, 10 ms, 20 ms
  ... at most 30 s (`kube.queue`). So the wait is never much longer than the trouble has lasted already. One key that
  fails holds up no other. `TemporaryError`, `ApiError` and `Unreachable` are daily life and become one line in the
  log; whatever else is raised is taken for a defect of the program and logged with its traceback. No exception ends
  the loop.
* **No key is reconciled twice at the same time**, however many workers there are; different keys are reconciled side
  by side. A key that is added meanwhile is reconciled once more afterwards.
* When the program **ends**, `queue.shut_down()` lets the workers finish what waits; cancelling `work` cuts a
  reconcile off at whatever it awaits, which costs nothing, because the next start looks at everything again.

Left out: a time limit for one reconcile (requests have theirs), priorities, and controller-runtime's TerminalError. A
reconcile that finds a wish impossible writes that into the object's status and returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8sext.kube.queue import Key, ShutDown, WorkQueue
from k8sext.kube.request import ApiError, Unreachable

if TYPE_CHECKING:
    from k8sext.kube.metrics import ControllerMetrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """How a reconcile ended that raised nothing.

    `requeue_after`: the key is reconciled again after so many seconds, even if nothing changes. `settled` False: no
    failure, but not at the goal yet either; earlier failures still count when the next wait is computed.
    """

    requeue_after: float | None = None
    settled: bool = True


Reconcile = Callable[[Key], Awaitable[Result | None]]


class TemporaryError(Exception):
    """What a reconcile raises that cannot go on now. The message is a sentence for the log."""


async def work(
    name: str,
    queue: WorkQueue[Key],
    reconcile: Reconcile[Key],
    workers: int = 1,
    metrics: ControllerMetrics | None = None,
) -> None:
    """Reconcile the keys of a queue with so many workers, until the queue is shut down and empty. `name` stands in the
    log.
    """
    if metrics:
        metrics.workers.set(workers)
        reconcile = _measured(reconcile, metrics)
    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(worker(name, queue, reconcile), name=f"{name} worker {number}")


async def worker(name: str, queue: WorkQueue[Key], reconcile: Reconcile[Key]) -> None:
    """One worker: key after key."""
    while not _is_cancelled():  # a reconcile may have swallowed the cancellation
        try:
            key = await queue.get()
        except ShutDown:
            return
        try:
            result = await reconcile(key) or Result()
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled():
                raise asyncio.CancelledError from error
            _log(f"{name} {key}", error)
            queue.add_rate_limited(key)
        else:
            if result.settled:
                queue.forget(key)
            if result.requeue_after is not None:
                queue.add_after(key, result.requeue_after)
        finally:
            queue.done(key)


def _is_cancelled() -> bool:
    """Whether this worker is being cancelled. A reconcile that awaited some other cancelled task has merely failed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _log(what: str, error: BaseException) -> None:
    match error:
        case ApiError(code=404 | 409):  # our picture was old; the next look sees a newer one
            log.debug("%s is tried again: %s", what, error)
        case ApiError() | Unreachable() | TemporaryError():
            log.warning("%s is tried again: %s", what, error)
        case _:
            log.error("%s is tried again: reconcile failed", what, exc_info=error)


def _measured(reconcile: Reconcile[Key], metrics: ControllerMetrics) -> Reconcile[Key]:
    async def measured(key: Key) -> Result | None:
        with metrics.reconcile() as name_result:
            result = await reconcile(key)
            if result and result.requeue_after is not None:
                name_result("requeue_after")
            return result

    return measured
