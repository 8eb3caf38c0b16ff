"""The scheduler: wait for a pod that asks for it by name, find a node, bind.

Everything else in this file is about what can come in between: the pod is deleted, the node vanishes, the API server is away, the
answer of a binding is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from k8sext.kube.events import EventRecorder, reference_to
from k8sext.kube.informer import Change as ChangeType
from k8sext.kube.informer import Informer, running, without_managed_fields
from k8sext.kube.request import ApiError, Json, Unreachable
from k8sext.scheduling.binder import Binder
from k8sext.scheduling.cache import Cache
from k8sext.scheduling.explanation import Explanation, wants_explanation
from k8sext.scheduling.figures import Figures
from k8sext.scheduling.finder import Decision, Finder
from k8sext.scheduling.profiles import KUBE, Change, Profile
from k8sext.scheduling.queue import SchedulingQueue, Waiting
from k8sext.scheduling.world import Pod, slim

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

ALIVE = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
SWEEP_SECONDS = 30.0


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
        self.figures = Figures(name, self.queue)
        self.ready = False
        self._finder = Finder(self.cache, profile, seed)
        self._binder = Binder(client)
        self._events = EventRecorder(client, name)
        self._slots = asyncio.Semaphore(bindings)
        self._pods = Informer(client, "/api/v1/pods", query=ALIVE, transform=slim)
        self._nodes = Informer(client, "/api/v1/nodes", transform=without_managed_fields)
        self._namespaces = Informer(client, "/api/v1/namespaces", transform=without_managed_fields)
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
            sweeper = tasks.create_task(self._sweep(), name="sweep")
            self.ready = True
            try:
                while True:
                    await self._slots.acquire()
                    self._schedule(await self.queue.get(), tasks)
            finally:
                self.ready = False
                sweeper.cancel()

    def _schedule(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> None:
        """Find a node for one pod and write down the outcome in a task of its own, which frees the slot."""
        pod = waiting.pod = self.cache.fresh(waiting.pod)
        if refusal := beyond(pod):
            tasks.create_task(self._in_slot(self._park(waiting, refusal, frozenset())))
            return
        explanation = Explanation(pod.key, *self._finder.explain(pod)) if wants_explanation(pod) else None
        with self.figures.algorithm.time():
            decision = explanation.decision if explanation else self._finder.find(pod)
        if decision.node is None:
            tasks.create_task(self._in_slot(self._reject(waiting, decision, explanation)))
        else:
            self.cache.assume(pod, decision.node)
            tasks.create_task(self._in_slot(self._bind(waiting, decision.node, explanation)))

    async def _in_slot(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except (ApiError, Unreachable) as error:
            log.warning("%s: %s", self.name, error)
        finally:
            self._slots.release()

    async def _bind(self, waiting: Waiting, node: str, explanation: Explanation | None) -> None:
        pod = waiting.pod
        if node not in self.cache.nodes or not self.queue.holds(waiting):  # it left a moment ago
            self._again(waiting)
            return
        self._say(f"Assigning {pod.key} to {node}")
        try:
            await self._binder.bind(pod, node)
        except (ApiError, Unreachable) as error:
            await self._settle(waiting, node, error)
            return
        self._bound(waiting, node)
        if explanation:
            await self._binder.annotate(pod, explanation.annotations())

    def _bound(self, waiting: Waiting, node: str) -> None:
        self.queue.done(waiting)
        self.figures.attempted("scheduled")
        self.figures.latency.observe(asyncio.get_running_loop().time() - waiting.since)
        message = f"Successfully assigned {waiting.pod.key} to {node}"
        self._events.event(reference_to(waiting.pod.item), "Normal", "Scheduled", message)

    async def _settle(self, waiting: Waiting, node: str, error: ApiError | Unreachable) -> None:
        """A binding failed, or its answer was lost. The pod stays assumed until the API server has said what is true."""
        log.warning("%s: binding %s to %s: %s", self.name, waiting.pod.key, node, error)
        item = await self._binder.truth(waiting.pod)
        if item and item["spec"].get("nodeName") == node:
            self._bound(waiting, node)
            return
        if item and item["spec"].get("nodeName"):  # somebody else was faster
            self.cache.set_pod(self.cache.read(slim(item)))
            self.queue.done(waiting)
            return
        self.figures.attempted("error")
        if item is None or "deletionTimestamp" in item["metadata"]:
            self.queue.done(waiting)
        self._again(waiting)

    def _again(self, waiting: Waiting) -> None:
        """Forget the assumed place and, if the pod still waits, try again later."""
        self.cache.forget(waiting.pod.key)
        self.queue.wake(Change.POD_GONE)
        if self.queue.holds(waiting):
            self.queue.retry(waiting)

    async def _reject(self, waiting: Waiting, decision: Decision, explanation: Explanation | None) -> None:
        helped_by = frozenset().union(
            *(self._profile.helped_by[name] for name in decision.rejected_by), {Change.NODE_CAME}
        )
        await self._park(waiting, decision.message, helped_by)
        if explanation:
            await self._binder.annotate(waiting.pod, explanation.annotations())

    async def _park(self, waiting: Waiting, message: str, helped_by: frozenset[Change]) -> None:
        self.queue.park(waiting, helped_by)
        self.figures.attempted("unschedulable")
        self._events.event(reference_to(waiting.pod.item), "Warning", "FailedScheduling", message)
        await self._binder.say_unschedulable(waiting.pod, message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.queue.wake_oldest()

    def _on_pod(self, type: ChangeType, item: Json) -> None:
        pod = self._read(item)
        if pod is None:
            return
        if type == "DELETED":
            placed = self.cache.is_placed(pod.key)
            self.cache.remove_pod(pod.key)
            self.queue.remove(pod.key)
            if placed:
                self.queue.wake(Change.POD_GONE)
        elif pod.node_name:
            self.queue.remove(pod.key)
            if self.cache.set_pod(pod):
                self.queue.wake(Change.POD_CAME)
        elif item["spec"].get("schedulerName") == self.name and not pod.terminating:
            if not self.cache.is_placed(pod.key):
                self.queue.put(pod)
        else:
            self.queue.remove(pod.key)

    def _read(self, item: Json) -> Pod | None:
        try:
            return self.cache.read(item)
        except (ValueError, LookupError) as error:  # one strange pod must not stop the others
            log.warning("%s: the pod %s cannot be read: %r", self.name, item["metadata"].get("name"), error)
            return None

    def _on_node(self, type: ChangeType, item: Json) -> None:
        name = item["metadata"]["name"]
        if type == "DELETED":
            self._known_nodes.pop(name, None)
            self.cache.remove_node(name)
            self.queue.wake(Change.POD_GONE)  # what is counted over all nodes may have become less
            return
        before = self._known_nodes.get(name)
        changes = differences(before, item)
        self._known_nodes[name] = item
        if changes:  # a heartbeat changes nothing that matters here
            self.cache.set_node(item)
            for change in changes:
                self.queue.wake(change)

    def _on_namespace(self, type: ChangeType, item: Json) -> None:
        if type != "DELETED":
            self.cache.set_namespace(item["metadata"]["name"], item["metadata"].get("labels") or {})
            self.queue.wake(Change.NAMESPACE)


def beyond(pod: Pod) -> str:
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


def differences(before: Json | None, after: Json) -> list[Change]:
    """Say what of a node has changed that matters to a pod."""
    if before is None:
        return [Change.NODE_CAME]
    found = []
    if before["status"].get("allocatable") != after["status"].get("allocatable"):
        found.append(Change.NODE_ALLOCATABLE)
    if before["metadata"].get("labels") != after["metadata"].get("labels"):
        found.append(Change.NODE_LABELS)
    if any(before["spec"].get(field) != after["spec"].get(field) for field in ("taints", "unschedulable")):
        found.append(Change.NODE_TAINTS)
    if before["status"].get("images") != after["status"].get("images"):
        found.append(Change.NODE_LABELS)
    return found
