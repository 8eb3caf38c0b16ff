"""The scheduler: wait for a pod that asks for it by name, find a node, bind.

Pods are decided about one after the other (the scheduling cycle), and bound many at a time (the binding cycle). Most of
this file is about what can come in between: the pod is deleted, the node vanishes, the API server is away, the answer
of a binding is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from k8sext.kube.events import EventRecorder
from k8sext.kube.informer import Change, Informer, running, without_managed_fields
from k8sext.kube.objects import Json, reference_to
from k8sext.kube.request import ApiError, Unreachable
from k8sext.kube.resource import NAMESPACES, NODES, PODS
from k8sext.scheduling.binder import Binder
from k8sext.scheduling.cache import Cache
from k8sext.scheduling.decision import Decision
from k8sext.scheduling.explanation import Explanation, wants_explanation
from k8sext.scheduling.framework import Framework
from k8sext.scheduling.metrics import Metrics
from k8sext.scheduling.profiles import KUBE, ClusterEvent, Profile
from k8sext.scheduling.queue import QueuedPodInfo, SchedulingQueue
from k8sext.scheduling.snapshot import PodInfo, strip

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

ALIVE = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
FLUSH_SECONDS = 30.0


class Scheduler:
    """Places the pods whose schedulerName is `name`. `bindings` is how many may be under way at once.

    `say` hears a line for every pod that is placed. A seed makes the random choices repeat.
    """

    def __init__(
        self,
        client: ApiClient,
        name: str,
        profile: Profile = KUBE,
        *,
        seed: int | None = None,
        bindings: int = 16,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name, self._profile, self._say = name, profile, say
        self.cache = Cache()
        self.queue = SchedulingQueue()
        self.metrics = Metrics(name, self.queue)
        self.ready = False
        self._framework = Framework(self.cache, profile, seed)
        self._binder = Binder(client)
        self._events = EventRecorder(client, name)
        self._slots = asyncio.Semaphore(bindings)
        self._pods = Informer(client, PODS.collection(), query=ALIVE, transform=strip)
        self._nodes = Informer(client, NODES.collection(), transform=without_managed_fields)
        self._namespaces = Informer(client, NAMESPACES.collection(), transform=without_managed_fields)
        self._known_nodes: dict[str, Json] = {}

    async def run(self) -> None:
        """Schedule for ever."""
        self._namespaces.on_change(self._on_namespace)
        self._nodes.on_change(self._on_node)
        self._pods.on_change(self._on_pod)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._events)
            await stack.enter_async_context(running(self._namespaces, self._nodes, self._pods))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            flusher = tasks.create_task(self._flush(), name="flush")
            self.ready = True
            try:
                while True:
                    await self._slots.acquire()
                    self._schedule_one(await self.queue.pop(), tasks)
            finally:
                self.ready = False
                flusher.cancel()

    def _schedule_one(self, queued: QueuedPodInfo, tasks: asyncio.TaskGroup) -> None:
        """The scheduling cycle of one pod: find a node, reserve it. Another task does the rest and frees the slot."""
        pod = queued.pod = self.cache.fresh(queued.pod)
        if refusal := unsupported(pod):
            tasks.create_task(self._in_slot(self._unschedulable(queued, refusal, frozenset())))
            return
        explanation = Explanation(pod.key, *self._framework.explain(pod)) if wants_explanation(pod) else None
        with self.metrics.algorithm.time():
            decision = explanation.decision if explanation else self._framework.schedule(pod)
        if decision.node is None:
            tasks.create_task(self._in_slot(self._reject(queued, decision, explanation)))
        else:
            self.cache.assume(pod, decision.node)
            tasks.create_task(self._in_slot(self._bind(queued, decision.node, explanation)))

    async def _in_slot(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except (ApiError, Unreachable) as error:
            log.warning("%s: %s", self.name, error)
        finally:
            self._slots.release()

    async def _bind(self, queued: QueuedPodInfo, node: str, explanation: Explanation | None) -> None:
        """The binding cycle."""
        pod = queued.pod
        if node not in self.cache.nodes or not self.queue.holds(queued):  # it left a moment ago
            self._unreserve(queued)
            return
        self._say(f"Assigning {pod.key} to {node}")
        try:
            await self._binder.bind(pod, node)
        except (ApiError, Unreachable) as error:
            await self._settle(queued, node, error)
            return
        self._bound(queued, node)
        if explanation:
            await self._binder.annotate(pod, explanation.annotations())

    def _bound(self, queued: QueuedPodInfo, node: str) -> None:
        self.queue.done(queued)
        self.metrics.attempted("scheduled")
        self.metrics.latency.observe(asyncio.get_running_loop().time() - queued.since)
        message = f"Successfully assigned {queued.pod.key} to {node}"
        self._events.event(reference_to(queued.pod.item), "Normal", "Scheduled", message)

    async def _settle(self, queued: QueuedPodInfo, node: str, error: ApiError | Unreachable) -> None:
        """A binding failed or its answer was lost: the pod stays assumed until the API server has said what is true."""
        log.warning("%s: binding %s to %s: %s", self.name, queued.pod.key, node, error)
        item = await self._binder.truth(queued.pod)
        if item and item["spec"].get("nodeName") == node:
            self._bound(queued, node)
            return
        if item and item["spec"].get("nodeName"):  # somebody else was faster
            self.cache.set_pod(self.cache.read(strip(item)))
            self.queue.done(queued)
            return
        self.metrics.attempted("error")
        if item is None or "deletionTimestamp" in item["metadata"]:
            self.queue.done(queued)
        self._unreserve(queued)

    def _unreserve(self, queued: QueuedPodInfo) -> None:
        """Forget the assumed place and, if the pod still waits, try again later."""
        self.cache.forget(queued.pod.key)
        self.queue.move(ClusterEvent.ASSIGNED_POD_DELETE)
        if self.queue.holds(queued):
            self.queue.requeue(queued)

    async def _reject(self, queued: QueuedPodInfo, decision: Decision, explanation: Explanation | None) -> None:
        helpful = [self._profile.events[name] for name in decision.unschedulable_plugins]
        await self._unschedulable(queued, decision.message, frozenset({ClusterEvent.NODE_ADD}).union(*helpful))
        if explanation:
            await self._binder.annotate(queued.pod, explanation.annotations())

    async def _unschedulable(self, queued: QueuedPodInfo, message: str, events: frozenset[ClusterEvent]) -> None:
        self.queue.add_unschedulable(queued, events)
        self.metrics.attempted("unschedulable")
        self._events.event(reference_to(queued.pod.item), "Warning", "FailedScheduling", message)
        await self._binder.say_unschedulable(queued.pod, message)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.queue.flush_unschedulable()

    def _on_pod(self, change: Change, item: Json) -> None:
        pod = self._read(item)
        if pod is None:
            return
        if change == "DELETED":
            placed = self.cache.is_placed(pod.key)
            self.cache.remove_pod(pod.key)
            self.queue.remove(pod.key)
            if placed:
                self.queue.move(ClusterEvent.ASSIGNED_POD_DELETE)
        elif pod.node_name:
            self.queue.remove(pod.key)
            if self.cache.set_pod(pod):
                self.queue.move(ClusterEvent.ASSIGNED_POD_ADD)
        elif item["spec"].get("schedulerName") == self.name and not pod.terminating:
            if not self.cache.is_placed(pod.key):
                self.queue.add(pod)
        else:
            self.queue.remove(pod.key)

    def _read(self, item: Json) -> PodInfo | None:
        try:
            return self.cache.read(item)
        except (ValueError, LookupError) as error:  # one strange pod must not stop the others
            log.warning("%s: the pod %s cannot be read: %r", self.name, item["metadata"].get("name"), error)
            return None

    def _on_node(self, change: Change, item: Json) -> None:
        name = item["metadata"]["name"]
        if change == "DELETED":
            self._known_nodes.pop(name, None)
            self.cache.remove_node(name)
            self.queue.move(ClusterEvent.ASSIGNED_POD_DELETE)  # what is counted over all nodes may have become less
            return
        events = node_events(self._known_nodes.get(name), item)
        self._known_nodes[name] = item
        if events:  # a heartbeat changes nothing that matters here
            self.cache.set_node(item)
            for event in events:
                self.queue.move(event)

    def _on_namespace(self, change: Change, item: Json) -> None:
        if change != "DELETED":
            self.cache.set_namespace(item["metadata"]["name"], item["metadata"].get("labels") or {})
            self.queue.move(ClusterEvent.NAMESPACE_CHANGE)


def unsupported(pod: PodInfo) -> str:
    """Say what a pod asks for that this scheduler does not do, "" if there is nothing."""
    spec = pod.item["spec"]
    for field, what in (
        ("volumes", "persistent volumes"),
        ("resourceClaims", "claimed devices"),
        ("schedulingGroup", "gangs of pods"),
    ):
        if spec.get(field):
            return f"this scheduler knows nothing of {what}: leave the pod to default-scheduler"
    return ""


def node_events(before: Json | None, after: Json) -> list[ClusterEvent]:
    """Say what of a node has changed that matters to a pod."""
    if before is None:
        return [ClusterEvent.NODE_ADD]
    found: list[ClusterEvent] = []
    if before["status"].get("allocatable") != after["status"].get("allocatable"):
        found.append(ClusterEvent.NODE_ALLOCATABLE_CHANGE)
    if before["metadata"].get("labels") != after["metadata"].get("labels"):
        found.append(ClusterEvent.NODE_LABEL_CHANGE)
    if any(before["spec"].get(field) != after["spec"].get(field) for field in ("taints", "unschedulable")):
        found.append(ClusterEvent.NODE_TAINT_CHANGE)
    if before["status"].get("images") != after["status"].get("images"):
        found.append(ClusterEvent.NODE_LABEL_CHANGE)
    return found
