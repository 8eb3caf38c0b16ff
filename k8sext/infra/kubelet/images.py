"""Images: have the runtime fetch what a container wants, as its imagePullPolicy says."""

from __future__ import annotations

import time
from typing import Any

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.context import Context
from k8sext.infra.kubelet.pod import Json, uid
from k8sext.infra.kubelet.runtime import RuntimeFailure


class NotStarted(Exception):
    """A container waits. `reason` and `message` are those of its status; `retry_in` seconds it is worth trying again."""

    def __init__(self, reason: str, message: str, retry_in: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_in = retry_in


class Images:
    """The images of one node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures: dict[tuple[str, str], tuple[float, str]] = {}

    async def ensure(self, pod: Json, container: Json, sandbox_config: Any, handler: str) -> Any:
        """Have the image at hand and return the runtime's Image. Raises NotStarted if it cannot be had, now or at all."""
        name, policy = container["image"], container.get("imagePullPolicy", "IfNotPresent")
        spec = cri.ImageSpec(image=name, user_specified_image=name, runtime_handler=handler)
        present = await self._present(spec)
        if present and policy != "Always":
            message = f'Container image "{name}" already present on machine and can be accessed by the pod'
            self._context.event(pod, "Normal", "Pulled", message, container)
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            self._context.event(pod, "Warning", "ErrImageNeverPull", message, container)
            raise self._failed(pod, container, "ErrImageNeverPull", message, 10)
        return await self._pull(pod, container, spec, sandbox_config)

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._failures if key[0] == pod_uid]:
            del self._failures[key]
            self._context.pulls.forget(key)

    async def _present(self, spec: Any) -> Any | None:
        answer = await self._context.runtime.call("ImageStatus", cri.ImageStatusRequest(image=spec))
        return answer.image if answer.HasField("image") and answer.image.id else None

    async def _pull(self, pod: Json, container: Json, spec: Any, sandbox_config: Any) -> Any:
        name, key = spec.image, (uid(pod), spec.image)
        failed_at, cause = self._failures.get(key, (0.0, ""))
        if wait := self._context.pulls.remaining(key, failed_at):
            self._context.event(pod, "Normal", "BackOff", f'Back-off pulling image "{name}"', container)
            raise self._failed(pod, container, "ImagePullBackOff", f'Back-off pulling image "{name}": {cause}', wait)
        self._context.event(pod, "Normal", "Pulling", f'Pulling image "{name}"', container)
        began = time.monotonic()
        try:
            request = cri.PullImageRequest(image=spec, sandbox_config=sandbox_config)
            await self._context.runtime.call("PullImage", request, timeout=600)
            image = await self._present(spec)
        except RuntimeFailure as error:
            if error.is_outage:
                raise
            now = time.time()
            self._context.pulls.failed(key, now)
            self._failures[key] = (now, f"ErrImagePull: {error.message}")
            self._context.event(pod, "Warning", "Failed", f'Failed to pull image "{name}": {error.message}', container)
            raise self._failed(pod, container, "ErrImagePull", error.message, 2) from error
        if image is None:
            raise self._failed(pod, container, "ErrImagePull", f'image "{name}" is gone right after it was pulled', 10)
        self.forget(uid(pod))
        took = f"{(time.monotonic() - began) * 1000:.0f}ms"
        done = (
            f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {image.size} bytes.'
        )
        self._context.event(pod, "Normal", "Pulled", done, container)
        return image

    def _failed(self, pod: Json, container: Json, reason: str, message: str, retry_in: float) -> NotStarted:
        self._context.event(pod, "Warning", "Failed", f"Error: {reason}", container)
        return NotStarted(reason, message, retry_in)
