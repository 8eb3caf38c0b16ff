"""One node's kubelet: its parts put together, and the two streams that keep it going.

The API server says what pods there should be, the runtime says what there is. Both only wake the workers of the pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet import node, rotation
from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.actions import Actions
from k8sext.infra.kubelet.admission import check
from k8sext.infra.kubelet.backoff import Backoff
from k8sext.infra.kubelet.claims import Claims
from k8sext.infra.kubelet.context import Context, Settings
from k8sext.infra.kubelet.csi import CsiVolumes
from k8sext.infra.kubelet.csinode import CsiNode
from k8sext.infra.kubelet.disk import Disk
from k8sext.infra.kubelet.images import Images
from k8sext.infra.kubelet.node import NodeSpec, Readiness
from k8sext.infra.kubelet.objects import Objects
from k8sext.infra.kubelet.plugins import Plugins
from k8sext.infra.kubelet.pod import Json
from k8sext.infra.kubelet.pods import PodWorker
from k8sext.infra.kubelet.reach import PodConnector, Reach
from k8sext.infra.kubelet.runtime import RUNNING, Runtime, RuntimeFailure
from k8sext.infra.kubelet.sandbox import Sandboxes
from k8sext.infra.kubelet.server import Server
from k8sext.infra.kubelet.volumes import VolumeError, Volumes
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.events import EventRecorder, timestamp
from k8sext.kube.watch import Changed, Listed, list_and_watch

log = logging.getLogger(__name__)

CONNECTIONS = 10
"""Two of them are watches. More would cost memory and handshakes and make nothing faster."""
ORPHAN_SECONDS = 2.0
RELIST_BUSY, RELIST_QUIET, BUSY_SECONDS = 0.2, 1.0, 3.0


@dataclass(frozen=True)
class Places:
    """Where a node finds what it needs."""

    folder: Path
    """Holds kubeconfig, kubelet.crt, kubelet.key; the kubelet keeps its own files below it."""
    client_ca: Path
    runtime_endpoint: str
    loopback: str
    """The first two numbers of the loopback addresses that stand for 10.244."""
    registry: Path
    """Where drivers put their sockets."""
    door: Path
    """The socket that leads to pods with a network of their own."""


async def run_node(spec: NodeSpec, places: Places, settings: Settings) -> None:
    """Be the kubelet of one node until cancelled. Raises if the node cannot begin: no kubeconfig, no runtime, port taken."""
    async with contextlib.AsyncExitStack() as stack:
        client = await from_kubeconfig(places.folder / "kubeconfig", connections=CONNECTIONS)
        stack.push_async_callback(client.close)
        runtime = Runtime(places.runtime_endpoint)
        stack.push_async_callback(runtime.close)
        versions = await runtime.call("Version", cri.VersionRequest(version="0.1.0"), timeout=5)
        network = cri.NetworkConfig(pod_cidr=spec.pod_cidr)
        config = cri.UpdateRuntimeConfigRequest(runtime_config=cri.RuntimeConfig(network_config=network))
        await runtime.call("UpdateRuntimeConfig", config)
        about = (await runtime.call("Status", cri.StatusRequest(verbose=True), timeout=5)).info
        session = await stack.enter_async_context(aiohttp.ClientSession())
        reach = Reach(places.loopback, places.door)
        to_pods = await stack.enter_async_context(aiohttp.ClientSession(connector=PodConnector(reach)))
        recorder = await stack.enter_async_context(EventRecorder(client, "kubelet", spec.name))
        objects = Objects(client)
        disk = Disk(places.folder / "kubelet", places.registry)
        disk.make()
        plugins = Plugins(disk, CsiNode(client, spec.name))
        csi = CsiVolumes(disk, plugins, Claims(client, objects))
        address = urlsplit(client.configuration.host)
        context = Context(
            node_name=spec.name,
            node_ip=spec.ip,
            allocatable=spec.capacity,
            pod_logs=places.folder / "pods",
            api_server=(address.hostname or "", str(address.port or 443)),
            client=client,
            runtime=runtime,
            recorder=recorder,
            objects=objects,
            volumes=Volumes(disk, objects, csi),
            actions=Actions(runtime, to_pods, reach),
            settings=settings,
            restarts=Backoff(settings.crash_loop_base, settings.crash_loop_limit),
            pulls=Backoff(settings.crash_loop_base, settings.crash_loop_limit),
            limits_note=about["limits"] if about.get("limits", "enforced") != "enforced" else "",
        )
        kubelet = Kubelet(context, versions.runtime_name, plugins)
        server = Server(runtime, session, kubelet.find_pod, kubelet.end_of, csi.stats)
        certificate, key = places.folder / "kubelet.crt", places.folder / "kubelet.key"
        runner = await server.start(f"{places.loopback}.{spec.index}.1", certificate, key, places.client_ca)
        stack.push_async_callback(runner.cleanup)
        await kubelet.run(spec, versions)


class Kubelet:
    """The workers of one node's pods and what wakes them."""

    def __init__(self, context: Context, runtime_name: str, plugins: Plugins) -> None:
        self._context, self._runtime_name, self._plugins = context, runtime_name, plugins
        self._images = Images(context)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._looks = 0
        self._listed = asyncio.Event()
        self._work = asyncio.Event()

    async def run(self, spec: NodeSpec, versions: object) -> None:
        """Register the node, then keep it and its pods going until cancelled."""
        client = self._context.client
        readiness = await self.check_runtime()
        registered = await node.register(client, node.node_object(spec, versions, readiness, timestamp()))
        log.info("node %s is registered", spec.name)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(node.renew_lease(client, spec.name))
                group.create_task(node.report_status(client, spec, versions, self.check_runtime, registered))
                group.create_task(self._context.objects.watch_services())
                group.create_task(self._watch_pods())
                group.create_task(self._watch_runtime())
                group.create_task(self._plugins.run(self.wake_all))
                group.create_task(self._clear_away_orphans())
                group.create_task(rotation.rotate_logs(self._context.runtime, self._context.pod_logs, self._work))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def find_pod(self, namespace: str, name: str) -> Json | None:
        """A pod of this node, by its name."""
        found = [w.pod for w in self._workers.values() if pods.full_name(w.pod) == f"{namespace}/{name}"]
        return found[-1] if found else None

    def end_of(self, run_id: str) -> Callable[[], bool]:
        """A question to ask again and again of a container that runs now: has it ended since?"""
        looks = self._looks + 1  # the look that is under way may have begun before the container did
        return lambda: self._looks > looks and run_id not in self._running

    def wake_all(self) -> None:
        """Something that pods may have waited for is here."""
        for worker in self._workers.values():
            worker.wake()

    async def check_runtime(self) -> Readiness:
        """Is the runtime ready for pods?"""
        try:
            status = await self._context.runtime.call("Status", cri.StatusRequest(), timeout=5)
        except RuntimeFailure as error:
            return Readiness(False, error.message)
        broken = [f"{c.type}: {c.message}" for c in status.status.conditions if not c.status]
        return Readiness(not broken, "; ".join(broken))

    async def _watch_pods(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={self._context.node_name}"}
        async for event in list_and_watch(self._context.client, "/api/v1/pods", query=query):
            match event:
                case Listed(items):
                    for pod in sorted(items, key=lambda pod: pod["metadata"]["creationTimestamp"]):
                        self._see(pod)
                    for uid in self._workers.keys() - {pods.uid(pod) for pod in items}:
                        self._workers[uid].gone()
                    self._listed.set()
                    self._work.set()
                case Changed("DELETED", pod):
                    if worker := self._workers.get(pods.uid(pod)):
                        worker.gone()
                case Changed(_, pod):
                    self._see(pod)

    def _see(self, pod: Json) -> None:
        """A pod is new or has changed."""
        uid = pods.uid(pod)
        if worker := self._workers.get(uid):
            worker.update(pod)
            return
        # a pod with a start time was let in by an earlier kubelet
        admitted = pod.get("status", {}).get("startTime") or pods.is_terminal(pod) or pods.is_deleted(pod)
        others = (other.pod for other in self._workers.values() if other.takes_resources)
        rejection = None if admitted else check(pod, others, self._context.allocatable)
        worker = self._workers[uid] = PodWorker(self._context, self._runtime_name, self._images, pod, rejection)
        task = self._tasks[uid] = asyncio.create_task(worker.run(), name=f"pod {pods.full_name(pod)}")
        task.add_done_callback(lambda done: self._forget(uid, done))
        self._work.set()

    def _forget(self, uid: str, task: asyncio.Task[None]) -> None:
        pod = self._workers.pop(uid).pod
        del self._tasks[uid]
        if not task.cancelled() and (error := task.exception()):
            log.error("the worker of pod %s died", pods.full_name(pod), exc_info=error)
            self._see(pod)

    async def _watch_runtime(self) -> None:
        """Wake the workers whose containers have changed; clear away what belongs to no pod. Rests while there is nothing to watch."""
        loop = asyncio.get_running_loop()
        sandboxes, seen, busy_until = Sandboxes(self._context), {}, 0.0
        await self._listed.wait()
        while True:
            if not self._workers and not seen:
                self._work.clear()
                await self._work.wait()
            try:
                snapshot = await self._context.runtime.snapshot()
            except RuntimeFailure as error:
                log.warning("node %s: %s", self._context.node_name, error.message)
                await asyncio.sleep(RELIST_QUIET)
                continue
            self._running = {id for items in snapshot.values() for id, state in items if state == RUNNING}
            self._looks += 1
            changed = {uid for uid in snapshot.keys() | seen.keys() if snapshot.get(uid) != seen.get(uid)}
            for uid in changed & self._workers.keys():
                self._workers[uid].wake()
            for uid in snapshot.keys() - self._workers.keys():
                await self._clear_away(sandboxes, uid)
            seen = snapshot
            if changed:
                busy_until = loop.time() + BUSY_SECONDS
            await asyncio.sleep(RELIST_BUSY if loop.time() < busy_until else RELIST_QUIET)

    async def _clear_away_orphans(self) -> None:
        """Take back what pods left that went while no kubelet ran; a volume may have to wait for its driver."""
        sandboxes = Sandboxes(self._context)
        await self._listed.wait()
        while left := [uid for uid in self._context.volumes.known_pods() if uid not in self._workers]:
            for uid in left:
                await self._clear_away(sandboxes, uid)
            await asyncio.sleep(ORPHAN_SECONDS)

    async def _clear_away(self, sandboxes: Sandboxes, uid: str) -> None:
        log.info("clearing away what is left of pod %s", uid)
        try:
            await sandboxes.clean_up(uid)
        except (RuntimeFailure, VolumeError) as error:
            log.warning("clearing away pod %s: %s", uid, error)
