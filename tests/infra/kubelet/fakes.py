"""A runtime and an API server that live in memory: the test decides how containers end and when everything dies."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.cri.proto import api_pb2_grpc as cri_grpc
from k8sext.infra.kubelet.paths import Paths
from k8sext.infra.kubelet.plugins.csi import CsiNode
from k8sext.infra.kubelet.plugins.watcher import Plugins
from k8sext.infra.kubelet.pod.admission import Rejection
from k8sext.infra.kubelet.pod.dial import Dialer, PodConnector
from k8sext.infra.kubelet.pod.env import Environment
from k8sext.infra.kubelet.pod.events import PodEvents
from k8sext.infra.kubelet.pod.hooks import Handlers
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.pod.worker import PodWorker
from k8sext.infra.kubelet.runtime.backoff import Backoff
from k8sext.infra.kubelet.runtime.cache import PodCache
from k8sext.infra.kubelet.runtime.client import RuntimeClient
from k8sext.infra.kubelet.runtime.containers import Containers
from k8sext.infra.kubelet.runtime.images import Images
from k8sext.infra.kubelet.runtime.sandbox import Sandboxes
from k8sext.infra.kubelet.volumes.claims import Claims
from k8sext.infra.kubelet.volumes.csi import CsiVolumes
from k8sext.infra.kubelet.volumes.manager import Volumes
from k8sext.infra.kubelet.volumes.pod_certificates import PodCertificates
from k8sext.kube.events import EventRecorder
from k8sext.kube.objects import Json

Hook = Callable[[str], None]


class FakeRuntime(cri_grpc.RuntimeServiceServicer, cri_grpc.ImageServiceServicer):
    """Sandboxes and containers as entries in two dictionaries. `hook` is called with the name of each call that
    changes something."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, Any] = {}
        self.containers: dict[str, Any] = {}
        self.sandbox_of: dict[str, str] = {}
        self.calls: list[str] = []
        self.hook: Hook = lambda _: None
        self.exec_exit_code = 0
        self.lists = 0
        """How often somebody looked at the containers."""
        self.ignore_sigterm = False
        self.password, self.has_missing = "", False
        """What the registry of the image `missing` wants; whether it has been pulled."""
        self.pulled_as: list[tuple[str, str]] = []
        self.stopped: list[tuple[str, int]] = []
        """Containers that ignored SIGTERM, with the seconds that each was given before SIGKILL."""
        self._numbers = itertools.count()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.hook(name)

    def end(self, name: str, code: int = 0) -> None:
        """Let the running container of this name end."""
        for container in self.containers.values():
            if container.metadata.name == name and container.state == cri.CONTAINER_RUNNING:
                container.state, container.exit_code, container.finished_at = cri.CONTAINER_EXITED, code, time.time_ns()

    def running(self) -> list[str]:
        return sorted(c.metadata.name for c in self.containers.values() if c.state == cri.CONTAINER_RUNNING)

    async def RunPodSandbox(self, request: Any, context: Any) -> Any:
        number = next(self._numbers)
        self.sandboxes[f"s{number}"] = cri.PodSandboxStatus(
            id=f"s{number}",
            metadata=request.config.metadata,
            state=cri.SANDBOX_READY,
            created_at=number,
            network=cri.PodSandboxNetworkStatus(ip="10.244.1.7"),
            labels=request.config.labels,
        )
        self._called("RunPodSandbox")
        return cri.RunPodSandboxResponse(pod_sandbox_id=f"s{number}")

    async def StopPodSandbox(self, request: Any, context: Any) -> Any:
        if sandbox := self.sandboxes.get(request.pod_sandbox_id):
            sandbox.state = cri.SANDBOX_NOTREADY
        for id, container in self.containers.items():
            if self.sandbox_of[id] == request.pod_sandbox_id:
                self.end(container.metadata.name, 137)
        self._called("StopPodSandbox")
        return cri.StopPodSandboxResponse()

    async def RemovePodSandbox(self, request: Any, context: Any) -> Any:
        self.sandboxes.pop(request.pod_sandbox_id, None)
        self.containers = {id: c for id, c in self.containers.items() if self.sandbox_of[id] != request.pod_sandbox_id}
        self._called("RemovePodSandbox")
        return cri.RemovePodSandboxResponse()

    async def PodSandboxStatus(self, request: Any, context: Any) -> Any:
        return cri.PodSandboxStatusResponse(status=self.sandboxes[request.pod_sandbox_id])

    async def ListPodSandbox(self, request: Any, context: Any) -> Any:
        fields = ("id", "metadata", "state", "created_at", "labels")
        items = [cri.PodSandbox(**{name: getattr(s, name) for name in fields}) for s in self.sandboxes.values()]
        return cri.ListPodSandboxResponse(items=items)

    async def CreateContainer(self, request: Any, context: Any) -> Any:
        number, config = next(self._numbers), request.config
        self.sandbox_of[f"c{number}"] = request.pod_sandbox_id
        self.containers[f"c{number}"] = cri.ContainerStatus(
            id=f"c{number}",
            metadata=config.metadata,
            state=cri.CONTAINER_CREATED,
            created_at=number,
            image=config.image,
            labels=config.labels,
            annotations=config.annotations,
        )
        self._called("CreateContainer")
        return cri.CreateContainerResponse(container_id=f"c{number}")

    async def StartContainer(self, request: Any, context: Any) -> Any:
        container = self.containers[request.container_id]
        container.state, container.started_at = cri.CONTAINER_RUNNING, time.time_ns()
        self._called("StartContainer")
        return cri.StartContainerResponse()

    async def StopContainer(self, request: Any, context: Any) -> Any:
        name = self.containers[request.container_id].metadata.name
        if self.ignore_sigterm:
            self.stopped.append((name, request.timeout))
            await asyncio.sleep(request.timeout)
        self.end(name, 137 if self.ignore_sigterm else 143)
        self._called("StopContainer")
        return cri.StopContainerResponse()

    async def RemoveContainer(self, request: Any, context: Any) -> Any:
        self.containers.pop(request.container_id, None)
        self._called("RemoveContainer")
        return cri.RemoveContainerResponse()

    async def ContainerStatus(self, request: Any, context: Any) -> Any:
        return cri.ContainerStatusResponse(status=self.containers[request.container_id])

    async def ListContainers(self, request: Any, context: Any) -> Any:
        self.lists += 1
        fields = ("id", "metadata", "state", "created_at", "labels")
        items = [
            cri.Container(pod_sandbox_id=self.sandbox_of[c.id], **{name: getattr(c, name) for name in fields})
            for c in self.containers.values()
        ]
        return cri.ListContainersResponse(containers=items)

    async def ReopenContainerLog(self, request: Any, context: Any) -> Any:
        Path(self.containers[request.container_id].log_path).write_text("")
        self._called("ReopenContainerLog")
        return cri.ReopenContainerLogResponse()

    async def ExecSync(self, request: Any, context: Any) -> Any:
        return cri.ExecSyncResponse(exit_code=self.exec_exit_code, stdout=b"said")

    async def ImageStatus(self, request: Any, context: Any) -> Any:
        if request.image.image.startswith("missing") and not self.has_missing:
            return cri.ImageStatusResponse()
        return cri.ImageStatusResponse(image=cri.Image(id=request.image.image))

    async def PullImage(self, request: Any, context: Any) -> Any:
        self.pulled_as.append((request.auth.username, request.auth.password))
        if self.password and request.auth.password == self.password:
            self.has_missing = True
            return cri.PullImageResponse(image_ref=request.image.image)
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such image anywhere")


class FakeApi:
    """Takes every status, event and deletion and remembers them; has the objects that the test puts into `objects`
    by their path."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.statuses: list[Json] = []
        self.events: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.conflicts: list[str] = []
        """What the next deletions are refused with."""
        self.refuses_statuses = False
        """As of a status that is not valid, whoever sends it how often."""
        self._versions = itertools.count(2)

    async def answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read() or b"{}")
        if request.method == "PATCH" and request.path.endswith("/status"):
            if self.refuses_statuses:
                return web.json_response({"code": 422, "message": "status: Invalid value"}, status=422)
            for key in ("podIPs", "hostIPs"):
                if directive_and_items := body["status"].get(key):
                    assert directive_and_items.pop(0) == {"$patch": "replace"}
            if "conditions" in body["status"]:
                body["status"]["conditions"] = [one for one in body["status"]["conditions"] if "$patch" not in one]
            self.statuses.append(body["status"])
            return web.json_response({"metadata": {"resourceVersion": str(next(self._versions))}})
        elif request.method == "POST" and request.path.endswith("/events"):
            self.events.append((body["reason"], body["message"]))
        elif request.method == "POST" and request.path.endswith("/token"):
            expires = {"expirationTimestamp": "2099-01-01T00:00:00Z", "token": f"token {len(self.deleted)}"}
            return web.json_response({"status": expires})
        elif request.method == "DELETE" and self.conflicts:
            return web.json_response({"code": 409, "message": self.conflicts.pop()}, status=409)
        elif request.method == "DELETE":
            self.deleted.append(request.path)
        elif request.method == "GET":
            found = self.objects.get(request.path)
            return web.json_response(found or {"code": 404, "message": "not found"}, status=200 if found else 404)
        return web.json_response({})

    @property
    def phases(self) -> list[str]:
        """The phases told so far, without repetition."""
        return [phase for phase, _ in itertools.groupby(status["phase"] for status in self.statuses)]


@dataclass
class Parts:
    """The parts of one node's kubelet that tests speak to."""

    client: ApiClient
    runtime: RuntimeClient
    images: Images
    volumes: Volumes
    references: References
    new_worker: Callable[[Json, Rejection | None], PodWorker]


@asynccontextmanager
async def serve_runtime(folder: Path, runtime: FakeRuntime) -> AsyncIterator[str]:
    """The address at which this runtime is served."""
    server, address = grpc.aio.server(), f"unix://{folder}/cri.sock"
    cri_grpc.add_RuntimeServiceServicer_to_server(runtime, server)
    cri_grpc.add_ImageServiceServicer_to_server(runtime, server)
    server.add_insecure_port(address)
    await server.start()
    yield address
    await server.stop(0)


@asynccontextmanager
async def surroundings(folder: Path, runtime: FakeRuntime, api: FakeApi) -> AsyncIterator[Parts]:
    """A node's kubelet, connected with these two."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = ApiClient(configuration)
    async with serve_runtime(folder, runtime) as address:
        channel, dialer = RuntimeClient(address), Dialer("127.244", folder / "pods.sock")
        session = aiohttp.ClientSession(connector=PodConnector(dialer))
        try:
            async with session, EventRecorder(client, "kubelet") as recorder:
                yield _put_together(folder, client, channel, PodEvents(recorder), Handlers(channel, session, dialer))
        finally:
            await channel.close()
            await client.close()
            await runner.cleanup()


def _put_together(
    folder: Path, client: ApiClient, runtime: RuntimeClient, events: PodEvents, handlers: Handlers
) -> Parts:
    cache, references = PodCache(runtime), References(client)
    paths = Paths(folder, folder / "plugins_registry")
    csi = CsiVolumes(paths, Plugins(paths, CsiNode(client, "node-1")), Claims(client, references))
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    environment = Environment("10.244.1.1", capacity, ("127.0.0.1", 6443), references)
    volumes = Volumes(paths, references, csi, environment, PodCertificates(references, "node-1"), 60)
    sandboxes = Sandboxes(runtime, cache, references, events, folder / "logs")
    images = Images(runtime, events, Backoff(10, 300), references)
    containers = Containers(
        runtime, images, sandboxes, environment, volumes, handlers, events, Backoff(10, 300), limits_note=""
    )

    async def clean_up(pod_uid: str) -> None:
        await sandboxes.remove(pod_uid)
        await volumes.remove(pod_uid)

    new_worker = partial(
        PodWorker,
        client=client,
        events=events,
        cache=cache,
        sandboxes=sandboxes,
        containers=containers,
        volumes=volumes,
        handlers=handlers,
        clean_up=clean_up,
        runtime_name="fake",
        node_ip="10.244.1.1",
    )
    return Parts(client, runtime, images, volumes, references, new_worker)
