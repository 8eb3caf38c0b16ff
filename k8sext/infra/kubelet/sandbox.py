"""Sandboxes: what the containers of one pod share, and the end of all of it."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import Any

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.context import Context
from k8sext.infra.kubelet.images import NotStarted
from k8sext.infra.kubelet.pod import Json
from k8sext.infra.kubelet.runtime import PodState, RuntimeFailure
from k8sext.infra.kubelet.translate import log_directory, sandbox_config
from k8sext.kube.request import ApiError


class Sandboxes:
    """The sandboxes of one node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def config(self, pod: Json, attempt: int) -> Any:
        return sandbox_config(pod, attempt, log_directory(self._context.pod_logs, pod))

    def ip(self, pod: Json, state: PodState) -> str:
        """The pod's address: its own, or its node's."""
        return self._context.node_ip if pods.is_host_network(pod) else state.ip

    async def create(self, pod: Json, state: PodState) -> None:
        """Make a new sandbox, after the last one has been stopped. Raises NotStarted."""
        if state.sandboxes:
            message = "Pod sandbox changed, it will be killed and re-created."
            self._context.event(pod, "Normal", "SandboxChanged", message)
        for old in state.sandboxes:
            await self.stop(old.id)
        attempt = max((old.metadata.attempt + 1 for old in state.sandboxes), default=0)
        log_directory(self._context.pod_logs, pod).mkdir(parents=True, exist_ok=True)
        try:
            handler = await self._context.objects.runtime_handler(pod)
            request = cri.RunPodSandboxRequest(config=self.config(pod, attempt), runtime_handler=handler)
            await self._context.runtime.call("RunPodSandbox", request, timeout=240)
        except (RuntimeFailure, ApiError) as error:
            if isinstance(error, RuntimeFailure) and error.is_outage:
                raise
            message = f"Failed to create pod sandbox: {error}"
            self._context.event(pod, "Warning", "FailedCreatePodSandBox", message)
            raise NotStarted("ContainerCreating", message, 5) from error

    async def stop(self, sandbox_id: str) -> None:
        await self._context.runtime.call("StopPodSandbox", cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove(self, pod_uid: str) -> None:
        """Stop and remove every sandbox of a pod with all that is in it."""
        for sandbox in (await self._context.runtime.pod(pod_uid)).sandboxes:
            await self.stop(sandbox.id)
            await self._context.runtime.call("RemovePodSandbox", cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id))

    async def clean_up(self, pod_uid: str) -> None:
        """Leave nothing of a pod on the node: sandboxes, volumes, logs."""
        await self.remove(pod_uid)
        await self._context.volumes.remove(pod_uid)
        for folder in self._context.pod_logs.glob(f"*_{pod_uid}"):
            shutil.rmtree(folder, ignore_errors=True)

    async def run_hook(
        self, pod: Json, container: Json, run: Any, hook: Json, name: str, seconds: int
    ) -> tuple[bool, int]:
        """Run a lifecycle hook for at most `seconds`. Returns whether it went well and the seconds left; an event tells of failure."""
        began = time.monotonic()
        state = await self._context.runtime.pod(pods.uid(pod))
        try:
            async with asyncio.timeout(seconds):
                well, output = await self._context.actions.run(hook, container, run, self.ip(pod, state), seconds)
        except TimeoutError:
            well, output = False, f"not done after {seconds}s"
        if not well:
            self._context.event(pod, "Warning", f"Failed{name}", f"{name} failed: {output}", container)
        return well, int(seconds - (time.monotonic() - began))
