"""The RuntimeService: each method of the protocol, told in the order of a pod's life.

Methods that are not here answer UNIMPLEMENTED, never a success that did not happen.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from grpc import StatusCode

from k8sext import __version__
from k8sext.infra.cri import statuses
from k8sext.infra.cri.cgroups import NOT_ENFORCED
from k8sext.infra.cri.images import ImageService
from k8sext.infra.cri.lifecycle import Node
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.proto import api_pb2_grpc
from k8sext.infra.cri.stats import container_stats
from k8sext.infra.cri.store import Container
from k8sext.infra.cri.streaming.commands import run_to_end
from k8sext.infra.cri.streaming.server import StreamingServer
from k8sext.infra.grpc import StatusError, invalid_argument, not_found

EVENTS_WAITING = 1000


class RuntimeService(api_pb2_grpc.RuntimeServiceServicer):
    """Pods and containers of one node."""

    def __init__(self, node: Node, images: ImageService, streaming: StreamingServer) -> None:
        self._node, self._images, self._streaming = node, images, streaming

    # ---- the runtime ----

    async def Version(self, request: api.VersionRequest, context: Any) -> api.VersionResponse:
        """Say who we are; kubelets insist on version 0.1.0."""
        return api.VersionResponse(
            version="0.1.0", runtime_name="k8sext", runtime_version=__version__, runtime_api_version="v1"
        )

    async def Status(self, request: api.StatusRequest, context: Any) -> api.StatusResponse:
        """Ready, with a network: who answers, can run pods."""
        conditions = [api.RuntimeCondition(type=kind, status=True) for kind in ("RuntimeReady", "NetworkReady")]
        names = self._node.handlers.names
        handlers = [api.RuntimeHandler(name=name, features=api.RuntimeHandlerFeatures()) for name in names]
        info = {
            "isolation": self._node.handlers.find("").isolation,
            "limits": "enforced" if self._node.groups.enforced else NOT_ENFORCED,
        }
        return api.StatusResponse(
            status=api.RuntimeStatus(conditions=conditions),
            runtime_handlers=handlers,
            features=api.RuntimeFeatures(supplemental_groups_policy=True),
            info=info if request.verbose else {},
        )

    async def RuntimeConfig(self, request: api.RuntimeConfigRequest, context: Any) -> api.RuntimeConfigResponse:
        """Groups are made by writing to the cgroup file system."""
        return api.RuntimeConfigResponse(linux=api.LinuxRuntimeConfiguration(cgroup_driver=api.CGROUPFS))

    async def UpdateRuntimeConfig(
        self, request: api.UpdateRuntimeConfigRequest, context: Any
    ) -> api.UpdateRuntimeConfigResponse:
        """Take the range of pod addresses the cluster gave this node."""
        cidr = request.runtime_config.network_config.pod_cidr
        if cidr:
            try:
                self._node.pod_cidr = ipaddress.IPv4Network(cidr)
            except ValueError as problem:
                raise invalid_argument(f"the pod CIDR {cidr!r} is not an IPv4 range: {problem}") from None
        return api.UpdateRuntimeConfigResponse()

    # ---- sandboxes ----

    async def RunPodSandbox(self, request: api.RunPodSandboxRequest, context: Any) -> api.RunPodSandboxResponse:
        """Make what the containers of a pod share."""
        return api.RunPodSandboxResponse(
            pod_sandbox_id=(await self._node.run_sandbox(request.config, request.runtime_handler)).id
        )

    async def StopPodSandbox(self, request: api.StopPodSandboxRequest, context: Any) -> api.StopPodSandboxResponse:
        """Stop a sandbox; one that is stopped or gone is none the worse."""
        sandbox = self._node.store.sandboxes.get(_given(request.pod_sandbox_id))
        if sandbox is not None:
            await self._node.stop_sandbox(sandbox)
        return api.StopPodSandboxResponse()

    async def RemovePodSandbox(
        self, request: api.RemovePodSandboxRequest, context: Any
    ) -> api.RemovePodSandboxResponse:
        """Remove a sandbox and its containers, if it is there."""
        sandbox = self._node.store.sandboxes.get(_given(request.pod_sandbox_id))
        if sandbox is not None:
            await self._node.remove_sandbox(sandbox)
        return api.RemovePodSandboxResponse()

    async def PodSandboxStatus(
        self, request: api.PodSandboxStatusRequest, context: Any
    ) -> api.PodSandboxStatusResponse:
        """Describe one sandbox, with its containers."""
        sandbox = self._node.sandbox(_given(request.pod_sandbox_id))
        containers = [
            statuses.container_status(container, self._node) for container in self._node.store.containers_in(sandbox)
        ]
        info = {"bindAddress": self._node.handlers.of(sandbox).address(sandbox)} if request.verbose else {}
        return api.PodSandboxStatusResponse(
            status=statuses.sandbox_status(sandbox), containers_statuses=containers, timestamp=time.time_ns(), info=info
        )

    async def ListPodSandbox(self, request: api.ListPodSandboxRequest, context: Any) -> api.ListPodSandboxResponse:
        """List the sandboxes that a filter lets through."""
        found = [
            sandbox for sandbox in self._node.store.sandboxes.values() if statuses.sandbox_fits(sandbox, request.filter)
        ]
        return api.ListPodSandboxResponse(items=[statuses.sandbox_item(sandbox) for sandbox in found])

    # ---- containers ----

    async def CreateContainer(self, request: api.CreateContainerRequest, context: Any) -> api.CreateContainerResponse:
        """Make a container in a sandbox from an image that is here."""
        sandbox = self._node.sandbox(_given(request.pod_sandbox_id))
        stores = self._images.stores_of(self._node.handlers.of(sandbox))
        image = self._images.resolve(request.config.image.image, stores)
        if image is None:
            raise not_found(f"image {request.config.image.image!r} is not on this node: pull it first")
        return api.CreateContainerResponse(container_id=self._node.create(sandbox, request.config, image.id).id)

    async def StartContainer(self, request: api.StartContainerRequest, context: Any) -> api.StartContainerResponse:
        """Run a created container."""
        await self._node.start(self._node.container(_given(request.container_id)))
        return api.StartContainerResponse()

    async def StopContainer(self, request: api.StopContainerRequest, context: Any) -> api.StopContainerResponse:
        """Stop a container, with patience; one that does not run or is gone is none the worse."""
        container = self._node.store.containers.get(_given(request.container_id))
        if container is not None:
            await self._node.stop(container, request.timeout)
        return api.StopContainerResponse()

    async def RemoveContainer(self, request: api.RemoveContainerRequest, context: Any) -> api.RemoveContainerResponse:
        """Remove a container, if it is there; one that runs is killed."""
        container = self._node.store.containers.get(_given(request.container_id))
        if container is not None:
            await self._node.remove(container)
        return api.RemoveContainerResponse()

    async def ListContainers(self, request: api.ListContainersRequest, context: Any) -> api.ListContainersResponse:
        """List the containers that a filter lets through."""
        found = [
            container
            for container in self._node.store.containers.values()
            if statuses.container_fits(container, request.filter)
        ]
        return api.ListContainersResponse(containers=[statuses.container_item(container) for container in found])

    async def ContainerStatus(self, request: api.ContainerStatusRequest, context: Any) -> api.ContainerStatusResponse:
        """Describe one container."""
        container = self._node.container(_given(request.container_id))
        info = statuses.container_info(container, self._node) if request.verbose else {}
        return api.ContainerStatusResponse(status=statuses.container_status(container, self._node), info=info)

    async def UpdateContainerResources(
        self, request: api.UpdateContainerResourcesRequest, context: Any
    ) -> api.UpdateContainerResourcesResponse:
        """Change a container's limits while it runs."""
        container = self._node.container(_given(request.container_id))
        container.config.linux.resources.MergeFrom(request.linux)
        if container.state == api.CONTAINER_RUNNING:
            self._node.groups.limit(container.id, container.config.linux.resources)
        self._node.store.save_container(container)
        return api.UpdateContainerResourcesResponse()

    async def ReopenContainerLog(
        self, request: api.ReopenContainerLogRequest, context: Any
    ) -> api.ReopenContainerLogResponse:
        """Go on in a new log file: a kubelet has renamed the old one."""
        await self._node.shim.ask("reopen", self._node.running(_given(request.container_id)).id)
        return api.ReopenContainerLogResponse()

    # ---- commands in containers ----

    async def ExecSync(self, request: api.ExecSyncRequest, context: Any) -> api.ExecSyncResponse:
        """Run a command and return what it printed; one that outlasts the timeout is killed."""
        container = self._node.running(_given(request.container_id))
        argv = self._command(request.cmd, container)
        session = await self._node.execute(container, argv, tty=False, stdin=False)
        try:
            stdout, stderr, code = await asyncio.wait_for(run_to_end(session), request.timeout or None)
        except TimeoutError:
            raise StatusError(
                StatusCode.DEADLINE_EXCEEDED, f"command {argv[0]!r} timed out after {request.timeout} s and was killed"
            ) from None
        finally:
            session.close()
        return api.ExecSyncResponse(stdout=stdout, stderr=stderr, exit_code=code)

    async def Exec(self, request: api.ExecRequest, context: Any) -> api.ExecResponse:
        """Return the URL at which the command is run and streamed."""
        container = self._node.running(_given(request.container_id))
        argv = self._command(request.cmd, container)
        _check_streams(request)
        url = await self._streaming.offer_command(
            request, lambda: self._node.execute(container, argv, tty=request.tty, stdin=request.stdin)
        )
        return api.ExecResponse(url=url)

    async def Attach(self, request: api.AttachRequest, context: Any) -> api.AttachResponse:
        """Return the URL at which the streams of the container's own program can be joined."""
        container = self._node.running(_given(request.container_id))
        _check_streams(request)
        shim = self._node.shim
        url = await self._streaming.offer_command(
            request, lambda: shim.open_session("attach", container.id, stdin=request.stdin)
        )
        return api.AttachResponse(url=url)

    async def PortForward(self, request: api.PortForwardRequest, context: Any) -> api.PortForwardResponse:
        """Return the URL at which connections to ports of a pod can be had."""
        sandbox = self._node.sandbox(_given(request.pod_sandbox_id))
        if not sandbox.ready:
            raise StatusError(StatusCode.FAILED_PRECONDITION, f"sandbox {sandbox.id} is not running")
        handler = self._node.handlers.of(sandbox)
        url = await self._streaming.offer_ports(sandbox.id, request.port, lambda: handler.dialer(sandbox))
        return api.PortForwardResponse(url=url)

    # ---- watching ----

    async def ContainerStats(self, request: api.ContainerStatsRequest, context: Any) -> api.ContainerStatsResponse:
        """Say what one container uses."""
        return api.ContainerStatsResponse(stats=await self._stats(self._node.container(_given(request.container_id))))

    async def ListContainerStats(
        self, request: api.ListContainerStatsRequest, context: Any
    ) -> api.ListContainerStatsResponse:
        """Say what the running containers use that a filter lets through."""
        wanted = api.ContainerFilter(
            id=request.filter.id,
            pod_sandbox_id=request.filter.pod_sandbox_id,
            label_selector=request.filter.label_selector,
        )
        found = [
            container
            for container in self._node.store.containers.values()
            if statuses.container_fits(container, wanted)
        ]
        running = [container for container in found if container.state == api.CONTAINER_RUNNING]
        return api.ListContainerStatsResponse(stats=[await self._stats(container) for container in running])

    async def GetContainerEvents(
        self, request: api.GetEventsRequest, context: Any
    ) -> AsyncIterator[api.ContainerEventResponse]:
        """Tell of each container that is created, started, stopped or deleted, as it happens. One who does not listen
        is cut off."""
        queue: asyncio.Queue[api.ContainerEventResponse] = asyncio.Queue(EVENTS_WAITING)

        def listener(container: Container, event: api.ContainerEventType) -> None:
            if not queue.full():
                queue.put_nowait(statuses.container_event(container, event, self._node))

        self._node.listeners.append(listener)
        await context.send_initial_metadata(())  # whoever waits for it misses nothing from here on
        try:
            while not queue.full():
                yield await queue.get()
        finally:
            self._node.listeners.remove(listener)

    def _command(self, cmd: Sequence[str], container: Container) -> list[str]:
        if not cmd:
            raise invalid_argument("the command is empty: name a program")
        self._node.handler_of(container).check_command(list(cmd), container)
        return list(cmd)

    async def _stats(self, container: Container) -> api.ContainerStats:
        process = self._node.store.process_of(container) if container.state == api.CONTAINER_RUNNING else None
        work = self._node.store.container_folder(container) / "work"
        return await asyncio.to_thread(container_stats, container, process["init"] if process else None, work)


def _given(identifier: str) -> str:
    if not identifier:
        raise invalid_argument("the id is empty: name a container or sandbox")
    return identifier


def _check_streams(request: api.ExecRequest | api.AttachRequest) -> None:
    if not (request.stdin or request.stdout or request.stderr):
        raise invalid_argument("none of stdin, stdout and stderr is wanted: ask for one at least")
    if request.tty and request.stderr:
        raise invalid_argument("a terminal has no stderr of its own: ask for tty or stderr, not both")
