"""The scheduling queue: pods that wait for a node, in three places.

*Active* pods are to be looked at now, the most important first. Pods in *back-off* failed a moment ago and wait a little, longer each
time. *Parked* pods fit nowhere, and asking again is vain until something happens that could change the answer of a filter that
rejected them; then they are woken. Source: kube-scheduler's scheduling queue (pkg/scheduler/backend/queue), KEP-4247.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto

from k8sext.scheduling.profiles import Change
from k8sext.scheduling.world import Pod

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 10.0
LONGEST_PARKING = 300.0


class State(Enum):
    """Where a waiting pod is."""

    ACTIVE = auto()
    BACKOFF = auto()
    PARKED = auto()
    GATED = auto()
    IN_HAND = auto()


@dataclass(eq=False)
class Waiting:
    """A pod that waits for a node, and what is known of its attempts."""

    pod: Pod
    state: State
    since: float = field(default_factory=time.monotonic)
    attempts: int = 0
    tried: float = 0.0
    helped_by: frozenset[Change] = frozenset()
    happened: Counter[Change] = field(default_factory=Counter)

    @property
    def ready(self) -> float:
        """The time when its back-off is over."""
        return self.tried + min(FIRST_BACKOFF * 2 ** max(self.attempts - 1, 0), LONGEST_BACKOFF)


class SchedulingQueue:
    """All pods that wait for one scheduler. `get` hands one out; then comes `done`, `park` or `retry`."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._active: list[tuple[int, int, Waiting]] = []
        self._backoff: list[tuple[float, int, Waiting]] = []
        self._numbers = itertools.count()
        self._happened: Counter[Change] = Counter()
        self._filled = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def count(self, state: State) -> int:
        """How many pods are in a state."""
        return sum(waiting.state is state for waiting in self._waiting.values())

    def put(self, pod: Pod) -> None:
        """A pod came, or a waiting pod changed. What cannot matter to its place (a status, say) does not wake it."""
        waiting = self._waiting.get(pod.key)
        gated = bool(pod.item["spec"].get("schedulingGates"))
        if waiting is None or waiting.pod.uid != pod.uid:
            waiting = self._waiting[pod.key] = Waiting(pod, State.GATED)
            if not gated:
                self._activate(waiting)
            return
        changed = waiting.pod.sort != pod.sort
        waiting.pod = pod
        if (waiting.state is State.GATED and not gated) or (waiting.state is State.PARKED and changed):
            self._wake(waiting)

    def remove(self, key: str) -> None:
        """A pod no longer waits: it is bound, or gone."""
        self._waiting.pop(key, None)

    async def get(self) -> Waiting:
        """Take the pod that is next, waiting for one if there is none."""
        while True:
            while self._active:
                waiting = heapq.heappop(self._active)[-1]
                if waiting.state is State.ACTIVE and self.holds(waiting):
                    waiting.state = State.IN_HAND
                    waiting.attempts += 1
                    waiting.tried = time.monotonic()
                    waiting.happened = self._happened.copy()
                    return waiting
            self._filled.clear()
            await self._filled.wait()

    def holds(self, waiting: Waiting) -> bool:
        """Whether the pod still waits: it may be removed, or made anew, while it is in hand."""
        return self._waiting.get(waiting.pod.key) is waiting

    def done(self, waiting: Waiting) -> None:
        """The pod is placed."""
        if self.holds(waiting):
            self.remove(waiting.pod.key)

    def park(self, waiting: Waiting, helped_by: frozenset[Change]) -> None:
        """No node will do; wait until one of these changes happens. If one has happened meanwhile, back-off is enough."""
        waiting.state, waiting.helped_by = State.PARKED, helped_by
        if any(self._happened[change] != waiting.happened[change] for change in helped_by):
            self._wake(waiting)

    def retry(self, waiting: Waiting) -> None:
        """Something failed that has nothing to do with the pod: try again after the back-off."""
        waiting.state = State.PARKED
        self._wake(waiting)

    def wake(self, change: Change) -> None:
        """Something happened: wake the parked pods that it may help."""
        self._happened[change] += 1
        for waiting in [w for w in self._waiting.values() if w.state is State.PARKED and change in w.helped_by]:
            self._wake(waiting)

    def wake_oldest(self) -> None:
        """Wake pods that have been parked for very long, should a change have been missed."""
        oldest = time.monotonic() - LONGEST_PARKING
        for waiting in [w for w in self._waiting.values() if w.state is State.PARKED and w.tried < oldest]:
            self._wake(waiting)

    def _wake(self, waiting: Waiting) -> None:
        if not waiting.attempts or waiting.ready <= time.monotonic():
            self._activate(waiting)
        else:
            waiting.state = State.BACKOFF
            heapq.heappush(self._backoff, (waiting.ready, next(self._numbers), waiting))
            self._set_alarm()

    def _activate(self, waiting: Waiting) -> None:
        waiting.state = State.ACTIVE
        heapq.heappush(self._active, (-waiting.pod.priority, next(self._numbers), waiting))
        self._filled.set()

    def _set_alarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = None
        if self._backoff:
            delay = max(0.0, self._backoff[0][0] - time.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._end_backoff)

    def _end_backoff(self) -> None:
        while self._backoff and self._backoff[0][0] <= time.monotonic():
            waiting = heapq.heappop(self._backoff)[-1]
            if waiting.state is State.BACKOFF and self.holds(waiting):
                self._activate(waiting)
        self._set_alarm()
