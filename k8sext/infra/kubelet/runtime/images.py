"""Images: have the runtime fetch what a container wants, as its imagePullPolicy says."""

from __future__ import annotations

import re
import time

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod.events import PodEvents
from k8sext.infra.kubelet.pod.podspec import uid
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.runtime.backoff import Backoff
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure
from k8sext.infra.kubelet.runtime.pull_secrets import Credentials, credentials_for
from k8sext.kube.objects import Json, parts

RETRY_SECONDS = 10.0
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])"
IMAGE_NAME = re.compile(
    rf"(?:{_HOST}(?::\d+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
"""The grammar of image names. Source: github.com/distribution/reference, regexp.go."""


class NotStarted(Exception):
    """A container waits. `reason` and `message` are those of its status; `retry_in` seconds it is worth trying
    again."""

    def __init__(self, reason: str, message: str, retry_in: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_in = retry_in


class Images:
    """The images of one node."""

    def __init__(self, runtime: RuntimeClient, events: PodEvents, pulls: Backoff, references: References) -> None:
        self._runtime, self._events, self._pulls, self._references = runtime, events, pulls, references
        self._failures: dict[tuple[str, str], tuple[float, str]] = {}

    async def ensure(self, pod: Json, container: Json, sandbox_config: cri.PodSandboxConfig, handler: str) -> cri.Image:
        """Have the image at hand and return what the runtime knows of it. Raises NotStarted if it cannot be had, now
        or at all."""
        name, policy = container["image"], container.get("imagePullPolicy", "IfNotPresent")
        if not IMAGE_NAME.fullmatch(name):
            parsed = f"""couldn't parse image name "{name}": invalid reference format"""
            message = f'Failed to apply default image tag "{name}": {parsed}'
            self._events.warning(pod, "InspectFailed", message, container)
            raise self._failed(pod, container, "InvalidImageName", message, RETRY_SECONDS)
        spec = cri.ImageSpec(image=name, user_specified_image=name, runtime_handler=handler)
        present = await self._runtime.image_status(spec)
        if present and policy != "Always":
            message = f'Container image "{name}" already present on machine and can be accessed by the pod'
            self._events.normal(pod, "Pulled", message, container)
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            self._events.warning(pod, "ErrImageNeverPull", message, container)
            raise self._failed(pod, container, "ErrImageNeverPull", message, 10)
        return await self._pull(pod, container, spec, sandbox_config)

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._failures if key[0] == pod_uid]:
            del self._failures[key]
            self._pulls.forget(key)

    async def _pull(
        self, pod: Json, container: Json, spec: cri.ImageSpec, sandbox_config: cri.PodSandboxConfig
    ) -> cri.Image:
        name, key = spec.image, (uid(pod), spec.image)
        failed_at, cause = self._failures.get(key, (0.0, ""))
        if wait := self._pulls.remaining(key, failed_at):
            self._events.normal(pod, "BackOff", f'Back-off pulling image "{name}"', container)
            raise self._failed(pod, container, "ImagePullBackOff", f'Back-off pulling image "{name}": {cause}', wait)
        self._events.normal(pod, "Pulling", f'Pulling image "{name}"', container)
        began = time.monotonic()
        secrets, missing = await self._secrets(pod)
        try:
            await self._pull_with(cri.PullImageRequest(image=spec, sandbox_config=sandbox_config), secrets)
            image = await self._runtime.image_status(spec)
        except RuntimeFailure as error:
            if error.is_outage:
                raise
            if missing:
                names = f"({', '.join(missing)}); attempting to pull the image may not succeed."
                message = f"Unable to retrieve some image pull secrets {names}"
                self._events.warning(pod, "FailedToRetrieveImagePullSecret", message)
            now = time.time()
            self._pulls.failed(key, now)
            self._failures[key] = (now, f"ErrImagePull: {error.message}")
            self._events.warning(pod, "Failed", f'Failed to pull image "{name}": {error.message}', container)
            raise self._failed(pod, container, "ErrImagePull", error.message, 2) from error
        if image is None:
            raise self._failed(pod, container, "ErrImagePull", f'image "{name}" is gone right after it was pulled', 10)
        self.forget(uid(pod))
        took = f"{(time.monotonic() - began) * 1000:.0f}ms"
        done = (
            f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {image.size} bytes.'
        )
        self._events.normal(pod, "Pulled", done, container)
        return image

    async def _secrets(self, pod: Json) -> tuple[list[Json], list[str]]:
        """The pod's imagePullSecrets, and the names of those that are not there."""
        names = [one["name"] for one in parts(pod["spec"], "imagePullSecrets") if one.get("name")]
        found = [await self._references.get("secrets", pod["metadata"]["namespace"], name) for name in names]
        missing = [name for name, secret in zip(names, found, strict=True) if secret is None]
        return [secret for secret in found if secret is not None], missing

    async def _pull_with(self, request: cri.PullImageRequest, secrets: list[Json]) -> None:
        """Pull as each user that the Secrets hold for this registry, until one is let in; as nobody if there is none.

        Raises RuntimeFailure, the last one's."""
        users = credentials_for(request.image.image, secrets) or [Credentials("", "")]
        for number, user in enumerate(users, 1):
            request.auth.CopyFrom(cri.AuthConfig(username=user.username, password=user.password))
            try:
                await self._runtime.pull_image(request)
                return
            except RuntimeFailure as error:
                if error.is_outage or number == len(users):
                    raise

    def _failed(self, pod: Json, container: Json, reason: str, message: str, retry_in: float) -> NotStarted:
        self._events.warning(pod, "Failed", f"Error: {reason}", container)
        return NotStarted(reason, message, retry_in)
