"""What all parts of one node's kubelet share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from k8sext.infra.kubelet.actions import Actions
from k8sext.infra.kubelet.backoff import Backoff
from k8sext.infra.kubelet.env import Surroundings, service_env
from k8sext.infra.kubelet.objects import Objects
from k8sext.infra.kubelet.pod import Json, field_path, is_host_network
from k8sext.infra.kubelet.runtime import Runtime
from k8sext.infra.kubelet.volumes import Volumes
from k8sext.kube.events import EventRecorder, reference_to
from k8sext.kube.request import ApiError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


@dataclass(frozen=True)
class Settings:
    """What the command line decides."""

    sync_frequency: float = 60.0
    crash_loop_base: float = 10.0
    crash_loop_limit: float = 300.0


KUBERNETES_SERVICE = ("10.96.0.1", "443")
"""Where pods with a network of their own find the API server: the address of the Service `kubernetes`."""


@dataclass(frozen=True)
class Context:
    """The tools of one node."""

    node_name: str
    node_ip: str
    allocatable: dict[str, str]
    pod_logs: Path
    api_server: tuple[str, str]
    client: ApiClient
    runtime: Runtime
    recorder: EventRecorder
    objects: Objects
    volumes: Volumes
    actions: Actions
    settings: Settings
    restarts: Backoff
    pulls: Backoff
    limits_note: str
    """Why the runtime does not enforce limits; "" if it does, or does not say."""

    def event(self, pod: Json, type: str, reason: str, message: str, container: Json | None = None) -> None:
        """Tell people about a pod, or about one container of it."""
        self.recorder.event(reference_to(pod, field_path(pod, container) if container else ""), type, reason, message)

    async def surroundings(self, pod: Json, pod_ip: str) -> Surroundings:
        """What the containers of a pod are told about where they run."""
        enabled = pod["spec"].get("enableServiceLinks", True)
        services = await self.objects.services() if enabled else []
        api_server = KUBERNETES_SERVICE if await self._has_own_network(pod) else self.api_server
        env = service_env(services, pod["metadata"]["namespace"], api_server, enabled)
        return Surroundings(pod_ip, self.node_ip, self.allocatable, env)

    async def _has_own_network(self, pod: Json) -> bool:
        """Whether the pod's RuntimeClass gives it one. A class that is missing is told when the sandbox is made."""
        try:
            return not is_host_network(pod) and await self.objects.runtime_handler(pod) == "oci"
        except ApiError:
            return False
