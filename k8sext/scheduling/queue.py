"""The scheduling queue: pods that wait for a node, in three places.

*Active* pods are to be looked at now, the most important first. Pods in *back-off* failed a moment ago and wait a
little, longer each time. *Unschedulable* pods fit nowhere, and asking again is vain until an event happens that could
change the answer of a plugin that rejected them; then they are moved. Source: kube-scheduler's scheduling queue
(pkg/scheduler/backend/queue), KEP-4247.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto

from k8sext.scheduling.profiles import ClusterEvent
from k8sext.scheduling.snapshot import PodInfo

INITIAL_BACKOFF, MAX_BACKOFF = 1.0, 10.0
MAX_IN_UNSCHEDULABLE = 300.0


class State(Enum):
    """Where a waiting pod is."""

    ACTIVE = auto()
    BACKOFF = auto()
    UNSCHEDULABLE = auto()
    GATED = auto()
    IN_FLIGHT = auto()


@dataclass(eq=False)
class QueuedPodInfo:
    """A pod that waits for a node, and what is known of its attempts. Times are those of time.monotonic, in seconds."""

    pod: PodInfo
    state: State
    since: float = field(default_factory=time.monotonic)
    attempts: int = 0
    tried: float = 0.0
    events: frozenset[ClusterEvent] = frozenset()
    """What may help it."""
    happened: Counter[ClusterEvent] = field(default_factory=Counter[ClusterEvent])
    """What had happened when it was tried last."""

    @property
    def ready(self) -> float:
        """The time when its back-off is over."""
        return self.tried + min(INITIAL_BACKOFF * 2 ** max(self.attempts - 1, 0), MAX_BACKOFF)


class SchedulingQueue:
    """All pods that wait for one scheduler. After `pop` comes `done`, `add_unschedulable` or `requeue`."""

    def __init__(self) -> None:
        self._pods: dict[str, QueuedPodInfo] = {}
        self._active: list[tuple[int, int, QueuedPodInfo]] = []
        self._backoff: list[tuple[float, int, QueuedPodInfo]] = []
        self._numbers = itertools.count()
        self._happened: Counter[ClusterEvent] = Counter()
        self._filled = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pods)

    def count(self, state: State) -> int:
        """How many pods are in a state."""
        return sum(queued.state is state for queued in self._pods.values())

    def add(self, pod: PodInfo) -> None:
        """A pod came, or a waiting pod changed. What cannot matter to its place (a status, say) does not move it."""
        queued = self._pods.get(pod.key)
        gated = bool(pod.item["spec"].get("schedulingGates"))
        if queued is None or queued.pod.uid != pod.uid:
            queued = self._pods[pod.key] = QueuedPodInfo(pod, State.GATED)
            if not gated:
                self._activate(queued)
            return
        changed = queued.pod.signature != pod.signature
        queued.pod = pod
        if (queued.state is State.GATED and not gated) or (queued.state is State.UNSCHEDULABLE and changed):
            self._move(queued)

    def remove(self, key: str) -> None:
        """A pod no longer waits: it is bound, or gone."""
        self._pods.pop(key, None)

    async def pop(self) -> QueuedPodInfo:
        """Take the pod that is next, waiting for one if there is none."""
        while True:
            while self._active:
                queued = heapq.heappop(self._active)[-1]
                if queued.state is State.ACTIVE and self.holds(queued):
                    queued.state = State.IN_FLIGHT
                    queued.attempts += 1
                    queued.tried = time.monotonic()
                    queued.happened = self._happened.copy()
                    return queued
            self._filled.clear()
            await self._filled.wait()

    def holds(self, queued: QueuedPodInfo) -> bool:
        """Whether the pod still waits: it may be removed, or made anew, while it is in flight."""
        return self._pods.get(queued.pod.key) is queued

    def done(self, queued: QueuedPodInfo) -> None:
        """The pod is placed."""
        if self.holds(queued):
            self.remove(queued.pod.key)

    def add_unschedulable(self, queued: QueuedPodInfo, events: frozenset[ClusterEvent]) -> None:
        """No node will do; wait for one of these events. If one has happened meanwhile, back-off is enough."""
        queued.state, queued.events = State.UNSCHEDULABLE, events
        if any(self._happened[event] != queued.happened[event] for event in events):
            self._move(queued)

    def requeue(self, queued: QueuedPodInfo) -> None:
        """Something failed that has nothing to do with the pod: try again after the back-off."""
        queued.state = State.UNSCHEDULABLE
        self._move(queued)

    def move(self, event: ClusterEvent) -> None:
        """Something happened: move the unschedulable pods that it may help to active or back-off."""
        self._happened[event] += 1
        for queued in [q for q in self._pods.values() if q.state is State.UNSCHEDULABLE and event in q.events]:
            self._move(queued)

    def flush_unschedulable(self) -> None:
        """Move pods that have been unschedulable for very long, should an event have been missed."""
        oldest = time.monotonic() - MAX_IN_UNSCHEDULABLE
        for queued in [q for q in self._pods.values() if q.state is State.UNSCHEDULABLE and q.tried < oldest]:
            self._move(queued)

    def _move(self, queued: QueuedPodInfo) -> None:
        if not queued.attempts or queued.ready <= time.monotonic():
            self._activate(queued)
        else:
            queued.state = State.BACKOFF
            heapq.heappush(self._backoff, (queued.ready, next(self._numbers), queued))
            self._set_alarm()

    def _activate(self, queued: QueuedPodInfo) -> None:
        queued.state = State.ACTIVE
        heapq.heappush(self._active, (-queued.pod.priority, next(self._numbers), queued))
        self._filled.set()

    def _set_alarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = None
        if self._backoff:
            delay = max(0.0, self._backoff[0][0] - time.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._flush_backoff)

    def _flush_backoff(self) -> None:
        while self._backoff and self._backoff[0][0] <= time.monotonic():
            queued = heapq.heappop(self._backoff)[-1]
            if queued.state is State.BACKOFF and self.holds(queued):
                self._activate(queued)
        self._set_alarm()
