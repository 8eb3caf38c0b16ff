"""The CRI client: one method for each call that this kubelet makes of a container runtime, with the messages that go
over the wire.

Source: the services and messages of k8sext/infra/cri/proto/api.proto; the shape of the methods is that of cri-api's
`RuntimeService` and `ImageManagerService`, through which every kubelet sees its runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
import grpc.aio
from google.protobuf.message import Message

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.grpc import CLIENT_OPTIONS, Response, call

PATIENCE = 120.0
"""Seconds. What may take longer says so."""


class RuntimeFailure(Exception):
    """The runtime refused, or cannot be reached (code UNAVAILABLE); `code` is the gRPC status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def is_outage(self) -> bool:
        """Nothing was wrong with the question: the runtime was not there to answer."""
        return self.code == grpc.StatusCode.UNAVAILABLE


class RuntimeClient:
    """One CRI endpoint (unix:///PATH). Every method raises RuntimeFailure."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        options = (*CLIENT_OPTIONS, ("grpc.initial_reconnect_backoff_ms", 100))
        self._channel = grpc.aio.insecure_channel(endpoint, options=options)

    async def close(self) -> None:
        await self._channel.close()

    # ---- the runtime itself ----

    async def version(self) -> cri.VersionResponse:
        return await self._call("RuntimeService/Version", cri.VersionRequest(version="0.1.0"), cri.VersionResponse, 5)

    async def status(self, *, verbose: bool = False) -> cri.StatusResponse:
        """Return whether it is ready for pods; `verbose` adds what this runtime tells of itself beyond the protocol."""
        return await self._call("RuntimeService/Status", cri.StatusRequest(verbose=verbose), cri.StatusResponse, 5)

    async def update_runtime_config(self, config: cri.RuntimeConfig) -> None:
        """Tell it what the cluster decides: the range of its pods' addresses."""
        request = cri.UpdateRuntimeConfigRequest(runtime_config=config)
        await self._call("RuntimeService/UpdateRuntimeConfig", request, cri.UpdateRuntimeConfigResponse)

    # ---- sandboxes ----

    async def run_pod_sandbox(self, request: cri.RunPodSandboxRequest) -> str:
        """Make what the containers of a pod share, start it, and return its id."""
        answer = await self._call("RuntimeService/RunPodSandbox", request, cri.RunPodSandboxResponse, 240)
        return answer.pod_sandbox_id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """End what runs in it and free its network; one that is stopped already is none the worse."""
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._call("RuntimeService/StopPodSandbox", request, cri.StopPodSandboxResponse)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Forget it and its containers."""
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._call("RuntimeService/RemovePodSandbox", request, cri.RemovePodSandboxResponse)

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        return (await self._call("RuntimeService/PodSandboxStatus", request, cri.PodSandboxStatusResponse)).status

    async def list_pod_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[cri.PodSandbox]:
        """Return all sandboxes, or those with these labels."""
        request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels))
        return (await self._call("RuntimeService/ListPodSandbox", request, cri.ListPodSandboxResponse)).items

    # ---- containers ----

    async def create_container(self, request: cri.CreateContainerRequest) -> str:
        """Make a container in a sandbox, ready to be started, and return its id."""
        answer = await self._call("RuntimeService/CreateContainer", request, cri.CreateContainerResponse)
        return answer.container_id

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        await self._call("RuntimeService/StartContainer", request, cri.StartContainerResponse)

    async def stop_container(self, container_id: str, grace: int) -> None:
        """End it: its stop signal, and SIGKILL after `grace` seconds."""
        request = cri.StopContainerRequest(container_id=container_id, timeout=grace)
        await self._call("RuntimeService/StopContainer", request, cri.StopContainerResponse, grace + 60)

    async def remove_container(self, container_id: str) -> None:
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._call("RuntimeService/RemoveContainer", request, cri.RemoveContainerResponse)

    async def container_status(self, container_id: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=container_id)
        return (await self._call("RuntimeService/ContainerStatus", request, cri.ContainerStatusResponse)).status

    async def list_containers(self, labels: Mapping[str, str] | None = None) -> Sequence[cri.Container]:
        """Return all containers, or those with these labels."""
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=labels))
        return (await self._call("RuntimeService/ListContainers", request, cri.ListContainersResponse)).containers

    async def list_container_stats(self, labels: Mapping[str, str] | None = None) -> Sequence[cri.ContainerStats]:
        """Return what the running containers use, or those of them with these labels."""
        request = cri.ListContainerStatsRequest(filter=cri.ContainerStatsFilter(label_selector=labels))
        return (await self._call("RuntimeService/ListContainerStats", request, cri.ListContainerStatsResponse)).stats

    async def reopen_container_log(self, container_id: str) -> None:
        """Have it write to a new file, after the old one was renamed."""
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._call("RuntimeService/ReopenContainerLog", request, cri.ReopenContainerLogResponse)

    # ---- commands in containers ----

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float) -> cri.ExecSyncResponse:
        """Run a command to its end, for at most `timeout` seconds, and return its output and exit code."""
        request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=int(timeout))
        return await self._call("RuntimeService/ExecSync", request, cri.ExecSyncResponse, timeout + 5)

    async def exec(self, request: cri.ExecRequest) -> str:
        """Return the URL of the runtime's streaming server at which the command waits for its streams."""
        return (await self._call("RuntimeService/Exec", request, cri.ExecResponse)).url

    async def attach(self, request: cri.AttachRequest) -> str:
        """Return the URL at which the streams of what runs already can be had."""
        return (await self._call("RuntimeService/Attach", request, cri.AttachResponse)).url

    async def port_forward(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Return the URL at which connections to ports of a pod can be had."""
        request = cri.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports)
        return (await self._call("RuntimeService/PortForward", request, cri.PortForwardResponse)).url

    # ---- images ----

    async def image_status(self, image: cri.ImageSpec) -> cri.Image | None:
        """Return an image that the runtime has, None if it has not."""
        answer = await self._call(
            "ImageService/ImageStatus", cri.ImageStatusRequest(image=image), cri.ImageStatusResponse
        )
        return answer.image if answer.HasField("image") and answer.image.id else None

    async def pull_image(self, request: cri.PullImageRequest) -> str:
        """Fetch an image and return its reference."""
        return (await self._call("ImageService/PullImage", request, cri.PullImageResponse, 600)).image_ref

    async def _call(
        self, method: str, request: Message, response: type[Response], timeout: float = PATIENCE
    ) -> Response:
        try:
            return await call(self._channel, f"/runtime.v1.{method}", request, response, timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                message = f"the container runtime at {self._endpoint} cannot be reached"
            else:
                message = error.details() or error.code().name
            raise RuntimeFailure(error.code(), message) from error
