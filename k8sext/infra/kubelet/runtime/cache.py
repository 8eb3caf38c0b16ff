"""What the runtime holds of each pod: asked again and again, but for details only when something has changed.

Everything the kubelet must find again after a restart is written on the containers themselves, in the labels and
annotations that every kubelet uses, so another kubelet could take over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure

POD_NAME, POD_NAMESPACE, POD_UID = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
HASH, RESTART_COUNT = "io.kubernetes.container.hash", "io.kubernetes.container.restartCount"
RESOURCES = "k8sext.dev/container.resources"
"""What the run was given, as JSON. Other kubelets keep it in a file of their own."""

RUNNING, CREATED, EXITED = cri.CONTAINER_RUNNING, cri.CONTAINER_CREATED, cri.CONTAINER_EXITED
NANOSECONDS = 1_000_000_000

Status = TypeVar("Status", cri.PodSandboxStatus, cri.ContainerStatus)


@dataclass
class PodState:
    """What the runtime holds of one pod, newest first."""

    sandboxes: list[cri.PodSandboxStatus] = field(default_factory=list[cri.PodSandboxStatus])
    containers: list[cri.ContainerStatus] = field(default_factory=list[cri.ContainerStatus])
    sandbox_of: dict[str, str] = field(default_factory=dict[str, str])
    """For each container the sandbox it was made in, both by their ids."""

    @property
    def sandbox(self) -> cri.PodSandboxStatus | None:
        """The sandbox that containers can be started in, if there is one."""
        return next((sandbox for sandbox in self.sandboxes if sandbox.state == cri.SANDBOX_READY), None)

    @property
    def why_no_sandbox(self) -> str:
        """Why containers cannot start, in the words of a kubelet; "" if they can."""
        if self.sandbox:
            return ""
        return "pod sandbox is not ready" if self.sandboxes else "no pod sandbox exists"

    @property
    def ip(self) -> str:
        return self.sandbox.network.ip if self.sandbox else ""

    def runs(self, name: str) -> list[cri.ContainerStatus]:
        """Every run of a container that the runtime remembers, the newest first."""
        return [container for container in self.containers if container.metadata.name == name]

    def latest(self, name: str) -> cri.ContainerStatus | None:
        return next(iter(self.runs(name)), None)

    def running(self) -> list[cri.ContainerStatus]:
        return [container for container in self.containers if container.state == RUNNING]

    def is_here(self, run: cri.ContainerStatus) -> bool:
        """Whether a run was made in the sandbox that is ready now."""
        return self.sandbox is not None and self.sandbox_of.get(run.id) == self.sandbox.id


class PodCache:
    """The pods of one runtime. Details of sandboxes and containers are asked for once for each state they are in."""

    def __init__(self, runtime: RuntimeClient) -> None:
        self._runtime = runtime
        self._sandboxes: dict[tuple[str, int], cri.PodSandboxStatus] = {}
        self._containers: dict[tuple[str, int], cri.ContainerStatus] = {}

    async def relist(self) -> dict[str, frozenset[tuple[str, int]]]:
        """For every pod the ids and states of what it has: cheap, and different whenever something changed. Raises
        RuntimeFailure."""
        seen: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        for item in (*await self._runtime.list_pod_sandboxes(), *await self._runtime.list_containers()):
            seen[item.labels.get(POD_UID, "")].add((item.id, item.state))
        alive = set[tuple[str, int]]().union(*seen.values())
        self._sandboxes = {key: known for key, known in self._sandboxes.items() if key in alive}
        self._containers = {key: known for key, known in self._containers.items() if key in alive}
        seen.pop("", None)
        return {uid: frozenset(items) for uid, items in seen.items()}

    async def state(self, uid: str) -> PodState:
        """All there is of one pod. Raises RuntimeFailure."""
        labels, state, runtime = {POD_UID: uid}, PodState(), self._runtime
        sandboxes, containers = await runtime.list_pod_sandboxes(labels), await runtime.list_containers(labels)
        for sandbox in sandboxes:
            state.sandboxes += await _detail(sandbox, self._sandboxes, runtime.pod_sandbox_status)
        for container in containers:
            state.sandbox_of[container.id] = container.pod_sandbox_id
            state.containers += await _detail(container, self._containers, runtime.container_status)
        state.sandboxes.sort(key=lambda sandbox: (sandbox.metadata.attempt, sandbox.created_at), reverse=True)
        state.containers.sort(key=lambda container: (container.metadata.attempt, container.created_at), reverse=True)
        return state


async def _detail(
    item: cri.PodSandbox | cri.Container,
    known: dict[tuple[str, int], Status],
    ask: Callable[[str], Awaitable[Status]],
) -> list[Status]:
    """The details of one item of a list, or nothing if it was removed since it was listed."""
    key = (item.id, item.state)
    if key not in known:
        try:
            status = await ask(item.id)
        except RuntimeFailure as error:
            if error.code == grpc.StatusCode.NOT_FOUND:
                return []
            raise
        if status.state != item.state:  # changed since it was listed: true, but not worth remembering
            return [status]
        known[key] = status
    return [known[key]]
