"""Sandboxes: what the containers of one pod share. A lost one is replaced by the next attempt."""

from __future__ import annotations

import shutil
from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import not_honoured
from k8sext.infra.kubelet.pod.events import PodEvents
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.runtime.cache import PodCache, PodState
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure
from k8sext.infra.kubelet.runtime.translate import log_directory, sandbox_config
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError


class Sandboxes:
    """The sandboxes of one node."""

    def __init__(
        self, runtime: RuntimeClient, cache: PodCache, references: References, events: PodEvents, pod_logs: Path
    ) -> None:
        self._runtime, self._cache, self._references, self._events = runtime, cache, references, events
        self._pod_logs = pod_logs

    def config(self, pod: Json, attempt: int) -> cri.PodSandboxConfig:
        return sandbox_config(pod, attempt, log_directory(self._pod_logs, pod))

    async def create(self, pod: Json, state: PodState) -> None:
        """Make a new sandbox, after the last one has been stopped. Raises OSError."""
        if state.sandboxes:
            self._events.normal(pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        for old in state.sandboxes:
            await self._runtime.stop_pod_sandbox(old.id)
        attempt = max((old.metadata.attempt + 1 for old in state.sandboxes), default=0)
        if fields := not_honoured.of_pod(pod):
            self._events.warning(pod, *not_honoured.told(fields))
        log_directory(self._pod_logs, pod).mkdir(parents=True, exist_ok=True)
        try:
            handler = await self._references.runtime_handler(pod)
            request = cri.RunPodSandboxRequest(config=self.config(pod, attempt), runtime_handler=handler)
            await self._runtime.run_pod_sandbox(request)
        except (RuntimeFailure, ApiError) as error:
            if isinstance(error, RuntimeFailure) and error.is_outage:
                raise
            message = f"Failed to create pod sandbox: {error}"
            self._events.warning(pod, "FailedCreatePodSandBox", message)
            raise OSError(message) from error

    async def stop(self, state: PodState) -> None:
        """Stop every sandbox of a pod."""
        for sandbox in state.sandboxes:
            await self._runtime.stop_pod_sandbox(sandbox.id)

    async def remove(self, pod_uid: str) -> None:
        """Stop and remove every sandbox of a pod with all that is in it, and its logs."""
        for sandbox in (await self._cache.state(pod_uid)).sandboxes:
            await self._runtime.stop_pod_sandbox(sandbox.id)
            await self._runtime.remove_pod_sandbox(sandbox.id)
        for folder in self._pod_logs.glob(f"*_{pod_uid}"):
            shutil.rmtree(folder, ignore_errors=True)
