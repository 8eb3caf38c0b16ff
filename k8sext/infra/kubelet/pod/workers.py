"""The workers of one node's pods, and the two streams that wake them.

The API server says what pods there should be, the runtime says what there is. The second stream is what the kubelet
calls PLEG, the pod lifecycle event generator: list all the runtime has, and compare with what was there before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.pod.admission import Rejection, check
from k8sext.infra.kubelet.pod.worker import PodWorker
from k8sext.infra.kubelet.runtime.cache import RUNNING, PodCache
from k8sext.infra.kubelet.runtime.client import RuntimeFailure
from k8sext.infra.kubelet.volumes.manager import VolumeError, Volumes
from k8sext.kube.objects import Json, key_of
from k8sext.kube.resource import PODS
from k8sext.kube.watch import Changed, Listed, list_and_watch

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 2.0
RELIST_BUSY, RELIST_QUIET, BUSY_SECONDS = 0.2, 1.0, 3.0


class NewWorker(Protocol):
    """Makes the worker of a pod; with a rejection, if the pod may not run here."""

    def __call__(self, pod: Json, rejection: Rejection | None) -> PodWorker: ...


class PodWorkers:
    """All pods of one node."""

    def __init__(
        self,
        client: ApiClient,
        node_name: str,
        allocatable: dict[str, str],
        cache: PodCache,
        volumes: Volumes,
        clean_up: Callable[[str], Awaitable[None]],
        new_worker: NewWorker,
    ) -> None:
        """`clean_up` removes what is left of a pod, by its uid; it may raise RuntimeFailure or VolumeError."""
        self._client, self._node_name, self._allocatable = client, node_name, allocatable
        self._cache, self._volumes, self._clean_up, self._new_worker = cache, volumes, clean_up, new_worker
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._looks = 0
        self._listed = asyncio.Event()
        self.work = asyncio.Event()
        """Set while there are pods."""

    async def run(self) -> None:
        """Keep the pods going until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_pods())
                group.create_task(self._watch_runtime())
                group.create_task(self._clear_away_orphans())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def find_pod(self, namespace: str, name: str) -> Json | None:
        """A pod of this node, by its name."""
        found = [worker.pod for worker in self._workers.values() if key_of(worker.pod) == f"{namespace}/{name}"]
        return found[-1] if found else None

    def all(self) -> list[Json]:
        """The pods of this node, each with the status that this kubelet knows."""
        return [worker.pod for worker in self._workers.values()]

    def workers(self) -> list[PodWorker]:
        """The workers of this node's pods."""
        return list(self._workers.values())

    def end_of(self, run_id: str) -> Callable[[], bool]:
        """A question to ask again and again of a container that runs now: has it ended since?"""
        looks = self._looks + 1  # the look that is under way may have begun before the container did
        return lambda: self._looks > looks and run_id not in self._running

    def wake_all(self) -> None:
        """Something that pods may have waited for is here."""
        for worker in self._workers.values():
            worker.wake()

    async def _watch_pods(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={self._node_name}"}
        async for event in list_and_watch(self._client, PODS.collection(), query=query):
            match event:
                case Listed(items):
                    for pod in sorted(items, key=lambda pod: pod["metadata"]["creationTimestamp"]):
                        self._see(pod)
                    for uid in self._workers.keys() - {podspec.uid(pod) for pod in items}:
                        self._workers[uid].gone()
                    self._listed.set()
                    self.work.set()
                case Changed("DELETED", pod):
                    if worker := self._workers.get(podspec.uid(pod)):
                        worker.gone()
                case Changed(_, pod):
                    self._see(pod)

    def _see(self, pod: Json) -> None:
        """A pod is new or has changed."""
        uid = podspec.uid(pod)
        if worker := self._workers.get(uid):
            worker.update(pod)
            return
        # a pod with a start time was let in by an earlier kubelet
        admitted = pod.get("status", {}).get("startTime") or podspec.is_terminal(pod) or podspec.is_deleted(pod)
        others = (other.pod for other in self._workers.values() if other.takes_resources)
        rejection = None if admitted else check(pod, others, self._allocatable)
        worker = self._workers[uid] = self._new_worker(pod, rejection)
        task = self._tasks[uid] = asyncio.create_task(worker.run(), name=f"pod {key_of(pod)}")
        task.add_done_callback(lambda done: self._forget(uid, done))
        self.work.set()

    def _forget(self, uid: str, task: asyncio.Task[None]) -> None:
        pod = self._workers.pop(uid).pod
        del self._tasks[uid]
        if not task.cancelled() and (error := task.exception()):
            log.error("the worker of pod %s died", key_of(pod), exc_info=error)
            self._see(pod)

    async def _watch_runtime(self) -> None:
        """Wake the workers whose containers have changed; clear away what belongs to no pod. Rests while there is
        nothing to watch."""
        loop = asyncio.get_running_loop()
        seen: dict[str, frozenset[tuple[str, int]]] = {}
        busy_until = 0.0
        await self._listed.wait()
        while True:
            if not self._workers and not seen:
                self.work.clear()
                await self.work.wait()
            try:
                now = await self._cache.relist()
            except RuntimeFailure as error:
                log.warning("node %s: %s", self._node_name, error.message)
                await asyncio.sleep(RELIST_QUIET)
                continue
            self._running = {id for items in now.values() for id, state in items if state == RUNNING}
            self._looks += 1
            changed = {uid for uid in now.keys() | seen.keys() if now.get(uid) != seen.get(uid)}
            for uid in changed & self._workers.keys():
                self._workers[uid].wake()
            for uid in now.keys() - self._workers.keys():
                await self._clear_away(uid)
            seen = now
            if changed:
                busy_until = loop.time() + BUSY_SECONDS
            await asyncio.sleep(RELIST_BUSY if loop.time() < busy_until else RELIST_QUIET)

    async def _clear_away_orphans(self) -> None:
        """Take back what pods left that went while no kubelet ran; a volume may have to wait for its driver."""
        await self._listed.wait()
        while left := [uid for uid in self._volumes.known_pods() if uid not in self._workers]:
            for uid in left:
                await self._clear_away(uid)
            await asyncio.sleep(ORPHAN_SECONDS)

    async def _clear_away(self, uid: str) -> None:
        log.info("clearing away what is left of pod %s", uid)
        try:
            await self._clean_up(uid)
        except (RuntimeFailure, VolumeError) as error:
            log.warning("clearing away pod %s: %s", uid, error)
