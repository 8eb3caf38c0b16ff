"""The work queue of a controller: keys of objects that somebody should look at.

Three guarantees (client-go's package `util/workqueue` defines them):

* a key is worked on by one worker at a time, however many workers there are;
* a key added many times before a worker comes is worked on once;
* a key added *while* it is worked on is worked on once more afterwards, so no change is ever lost.

And retries come later each time, so that what fails does not keep everybody busy.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY = 0.005
LONGEST_RETRY = 30.0  # client-go's is 1000: people who look at a learner's cluster wait less patiently


class ShutDown(Exception):
    """The queue is shut down and has nothing left to hand out."""


class Observer(Protocol):
    """Hears what a queue does; `k8sext.kube.metrics` counts it."""

    def added(self, depth: int) -> None:
        """A key was added; so many wait now."""

    def started(self, depth: int, waited: float) -> None:
        """A worker took a key that had waited so long."""

    def finished(self, worked: float) -> None:
        """A worker is done with a key."""

    def retried(self) -> None:
        """A key was put back to be tried again later."""


class WorkQueue(Generic[Key]):
    """Hands out keys to workers: `get`, work, `done`. Failed: `add_rate_limited`; settled: `forget`.

    `first_retry` doubles with each failure of the same key up to `longest_retry`.
    """

    def __init__(
        self,
        *,
        first_retry: float = FIRST_RETRY,
        longest_retry: float = LONGEST_RETRY,
        observer: Observer | None = None,
    ) -> None:
        self._first_retry, self._longest_retry = first_retry, longest_retry
        self._observer = observer
        self._order: deque[Key] = deque()
        self._waiting: dict[Key, float] = {}  # in _order, or to go there once done: with the time of adding
        self._working: dict[Key, float] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._failures: dict[Key, int] = {}
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._order)

    @property
    def closed(self) -> bool:
        """Whether the queue is shut down and takes no new keys."""
        return self._closed

    @property
    def working(self) -> list[Key]:
        """The keys that workers have in hand."""
        return list(self._working)

    def add(self, key: Key) -> None:
        """Ask for a look at a key. A queue that is shut down takes nothing more."""
        if self._closed or key in self._waiting:
            return
        self._waiting[key] = time.monotonic()
        if key not in self._working:
            self._append(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a look at a key later. Asked twice, the earlier time counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._numbers), key))
            self._set_alarm()

    def add_rate_limited(self, key: Key) -> None:
        """Ask for another look after a failure: later each time."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if self._observer:
            self._observer.retried()
        self.add_after(key, min(self._first_retry * 2 ** min(failures, 60), self._longest_retry))

    def retries(self, key: Key) -> int:
        """How often a key was put back since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """The key is settled: its next failure is a first one again."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for a key and take it. Whoever takes it calls `done`, whatever happens. Raises ShutDown."""
        while not self._order:
            if self._closed and not self._waiting:
                raise ShutDown
            await self._sleep()
        key = self._order.popleft()
        now = time.monotonic()
        waited = now - self._waiting.pop(key)
        self._working[key] = now
        if self._observer:
            self._observer.started(len(self._order), waited)
        if self._closed:
            self._end_if_drained()
        return key

    def done(self, key: Key) -> None:
        """The worker has ended its work on a key; if the key was added meanwhile, it is next in line again."""
        started = self._working.pop(key)
        if self._observer:
            self._observer.finished(time.monotonic() - started)
        if key in self._waiting:
            self._append(key)
        elif self._closed:
            self._end_if_drained()

    def shut_down(self) -> None:
        """Take no new keys. What waits is still handed out; then every `get` raises ShutDown. What was put off is
        dropped."""
        self._closed = True
        self._later.clear()
        self._due.clear()
        self._set_alarm()
        self._end_if_drained()

    async def drained(self) -> None:
        """Wait until a queue that is shut down is empty and no worker has a key in hand."""
        await self._drained.wait()

    def _append(self, key: Key) -> None:
        self._order.append(key)
        if self._observer:
            self._observer.added(len(self._order))
        self._wake_one()

    async def _sleep(self) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        try:
            await sleeper
        except asyncio.CancelledError:
            if sleeper.done() and not sleeper.cancelled():
                self._wake_one()  # the call was for a worker that is going home: pass it on
            raise

    def _wake_one(self) -> None:
        while self._sleepers:
            sleeper = self._sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                return

    def _end_if_drained(self) -> None:
        if not self._waiting:
            while self._sleepers:
                self._wake_one()
            if not self._working:
                self._drained.set()

    def _set_alarm(self) -> None:
        """Let the loop call us when the next key that was put off is due."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if self._later:
            self._alarm = asyncio.get_running_loop().call_at(self._later[0][0], self._move_due)

    def _move_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:  # else it was put off twice, and this is the later time
                del self._due[key]
                self.add(key)
        self._set_alarm()
