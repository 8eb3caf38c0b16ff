"""The runtime, as the kubelet sees it: a CRI client and what it tells about one pod.

Everything the kubelet must find again after a restart is written on the containers themselves, in the labels and annotations that
every kubelet uses, so another kubelet could take over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.cri.proto import api_pb2_grpc as cri_grpc

POD_NAME, POD_NAMESPACE, POD_UID = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
HASH, RESTART_COUNT = "io.kubernetes.container.hash", "io.kubernetes.container.restartCount"

RUNNING, CREATED, EXITED = cri.CONTAINER_RUNNING, cri.CONTAINER_CREATED, cri.CONTAINER_EXITED
NANOSECONDS = 1_000_000_000


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


@dataclass
class PodState:
    """What the runtime holds of one pod, newest first."""

    sandboxes: list[Any] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)

    @property
    def sandbox(self) -> Any | None:
        """The sandbox that containers can be started in, if there is one."""
        return next((sandbox for sandbox in self.sandboxes if sandbox.state == cri.SANDBOX_READY), None)

    @property
    def ip(self) -> str:
        return self.sandbox.network.ip if self.sandbox else ""

    def runs(self, name: str) -> list[Any]:
        """Every run of a container that the runtime remembers, the newest first."""
        return [container for container in self.containers if container.metadata.name == name]

    def latest(self, name: str) -> Any | None:
        return next(iter(self.runs(name)), None)

    def running(self) -> list[Any]:
        return [container for container in self.containers if container.state == RUNNING]


class Runtime:
    """One CRI endpoint. Details of sandboxes and containers are asked for once for each state they are in."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        # an authority derived from the socket's path would be refused by servers written in Go
        options = [("grpc.default_authority", "localhost"), ("grpc.max_reconnect_backoff_ms", 1000)]
        self._channel = grpc.aio.insecure_channel(
            endpoint, options=[*options, ("grpc.initial_reconnect_backoff_ms", 100)]
        )
        self._runtime = cri_grpc.RuntimeServiceStub(self._channel)
        self._images = cri_grpc.ImageServiceStub(self._channel)
        self._details: dict[tuple[str, int], Any] = {}
        self._sandbox_of: dict[str, str] = {}

    async def close(self) -> None:
        await self._channel.close()

    async def call(self, method: str, request: Any, timeout: float = 120) -> Any:
        """Call a method of the runtime or image service by its name. Raises RuntimeFailure."""
        service = self._runtime if hasattr(self._runtime, method) else self._images
        stub: Callable[..., Awaitable[Any]] = getattr(service, method)
        try:
            return await stub(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise RuntimeFailure(
                    error.code(), f"the container runtime at {self._endpoint} cannot be reached"
                ) from error
            raise RuntimeFailure(error.code(), error.details() or error.code().name) from error

    async def snapshot(self) -> dict[str, frozenset[tuple[str, int]]]:
        """For every pod the ids and states of what it has: cheap, and different whenever something changed."""
        seen: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        alive = set()
        sandboxes = await self.call("ListPodSandbox", cri.ListPodSandboxRequest())
        containers = await self.call("ListContainers", cri.ListContainersRequest())
        for item in (*sandboxes.items, *containers.containers):
            seen[item.labels.get(POD_UID, "")].add((item.id, item.state))
            alive.add(item.id)
        self._details = {key: known for key, known in self._details.items() if key[0] in alive}
        self._sandbox_of = {key: known for key, known in self._sandbox_of.items() if key in alive}
        seen.pop("", None)
        return {uid: frozenset(items) for uid, items in seen.items()}

    async def pod(self, uid: str) -> PodState:
        """All there is of one pod."""
        labels = {POD_UID: uid}
        sandboxes = await self.call(
            "ListPodSandbox", cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels))
        )
        containers = await self.call(
            "ListContainers", cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=labels))
        )
        state = PodState()
        for item in sandboxes.items:
            state.sandboxes += await self._detail(
                item, "PodSandboxStatus", cri.PodSandboxStatusRequest(pod_sandbox_id=item.id)
            )
        for item in containers.containers:
            self._sandbox_of[item.id] = item.pod_sandbox_id
            state.containers += await self._detail(
                item, "ContainerStatus", cri.ContainerStatusRequest(container_id=item.id)
            )
        state.sandboxes.sort(key=lambda sandbox: (sandbox.metadata.attempt, sandbox.created_at), reverse=True)
        state.containers.sort(key=lambda container: (container.metadata.attempt, container.created_at), reverse=True)
        return state

    def sandbox_of(self, container_id: str) -> str:
        """The sandbox a container was made in."""
        return self._sandbox_of.get(container_id, "")

    async def _detail(self, item: Any, method: str, request: Any) -> list[Any]:
        key = (item.id, item.state)
        if key not in self._details:
            try:
                status = (await self.call(method, request)).status
            except RuntimeFailure as error:
                if error.code == grpc.StatusCode.NOT_FOUND:  # removed since it was listed
                    return []
                raise
            if status.state != item.state:  # changed since it was listed: true, but not worth remembering
                return [status]
            self._details[key] = status
        return [self._details[key]]
