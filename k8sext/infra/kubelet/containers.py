"""Start a container, end a container, clear away what its older runs left behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet import env
from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.context import Context
from k8sext.infra.kubelet.env import ConfigError
from k8sext.infra.kubelet.images import Images, NotStarted
from k8sext.infra.kubelet.pod import Json
from k8sext.infra.kubelet.runtime import CREATED, EXITED, NANOSECONDS, PodState, RuntimeFailure
from k8sext.infra.kubelet.sandbox import Sandboxes
from k8sext.infra.kubelet.translate import container_config, container_hash
from k8sext.infra.kubelet.volumes import VolumeError

RETRY_SECONDS = 3.0
HOOK_SECONDS = 600
KEPT_RUNS = 2
"""The current run and the one before, for `kubectl logs --previous`."""


class Containers:
    """The containers of one node."""

    def __init__(self, context: Context, images: Images, sandboxes: Sandboxes) -> None:
        self._context, self._images, self._sandboxes = context, images, sandboxes

    async def start(self, pod: Json, container: Json, state: PodState) -> None:
        """Bring one container to run in the pod's sandbox. Raises NotStarted when it has to wait."""
        run = state.latest(container["name"])
        if run and run.state == CREATED and self._context.runtime.sandbox_of(run.id) == state.sandbox.id:  # type: ignore[union-attr]
            await self._start(pod, container, run.id)
            return
        self._wait_after_crash(pod, container, run)
        run_id = await self._create(pod, container, state)
        await self._start(pod, container, run_id)
        await self._clear(state.runs(container["name"]))

    async def kill(self, pod: Json, run: Any, reason: str, grace: int) -> None:
        """End one run: the preStop hook, SIGTERM, and after the grace period SIGKILL."""
        container = next((c for c in pods.all_containers(pod) if c["name"] == run.metadata.name), None)
        if container:
            self._context.event(pod, "Normal", "Killing", reason, container)
            grace = await self._pre_stop(pod, container, run, grace)
        await self._context.runtime.call(
            "StopContainer", cri.StopContainerRequest(container_id=run.id, timeout=grace), grace + 60
        )

    def _wait_after_crash(self, pod: Json, container: Json, run: Any | None) -> None:
        if run is None or run.state != EXITED:
            return
        key, ended = (pods.uid(pod), container["name"], container_hash(container)), run.finished_at / NANOSECONDS
        restarts = self._context.restarts
        if wait := restarts.remaining(key, ended):
            name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}({pods.uid(pod)})"
            event = f"Back-off restarting failed container {container['name']} in pod {name}"
            self._context.event(pod, "Warning", "BackOff", event, container)
            delay = _duration(restarts.delay(key))
            message = f"back-off {delay} restarting failed container={container['name']} pod={name}"
            raise NotStarted("CrashLoopBackOff", message, wait)
        restarts.failed(key, ended)

    async def _create(self, pod: Json, container: Json, state: PodState) -> str:
        sandbox = state.sandbox
        assert sandbox is not None
        config = self._sandboxes.config(pod, sandbox.metadata.attempt)
        image = await self._images.ensure(pod, container, config, sandbox.runtime_handler)
        try:
            _check_not_root(pod, container, image)
            where = await self._context.surroundings(pod, self._sandboxes.ip(pod, state))
            variables = await env.container_env(pod, container, where, self._context.objects.get)
            mounts = self._context.volumes.mounts(pod, container, variables)
        except (ConfigError, VolumeError, OSError) as error:
            raise self._failed(pod, container, "CreateContainerConfigError", str(error)) from error
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox.id,
            sandbox_config=config,
            config=container_config(
                pod,
                container,
                attempt=_attempt(pod, container, state),
                image_ref=image.id,
                env=variables,
                command=[env.expand(part, variables) for part in container.get("command") or []],
                args=[env.expand(part, variables) for part in container.get("args") or []],
                mounts=mounts,
            ),
        )
        try:
            run_id = (await self._context.runtime.call("CreateContainer", request)).container_id
        except RuntimeFailure as error:
            raise self._refused(pod, container, "CreateContainerError", error) from error
        self._context.event(pod, "Normal", "Created", "Container created", container)
        if self._context.limits_note and (container.get("resources") or {}).get("limits"):
            self._context.event(pod, "Warning", "LimitsNotEnforced", self._context.limits_note, container)
        return run_id

    async def _start(self, pod: Json, container: Json, run_id: str) -> None:
        try:
            await self._context.runtime.call("StartContainer", cri.StartContainerRequest(container_id=run_id))
        except RuntimeFailure as error:
            raise self._refused(pod, container, "RunContainerError", error) from error
        self._context.event(pod, "Normal", "Started", "Container started", container)
        if hook := (container.get("lifecycle") or {}).get("postStart"):
            await self._post_start(pod, container, run_id, hook)

    async def _post_start(self, pod: Json, container: Json, run_id: str, hook: Json) -> None:
        """Run the postStart hook; a container whose hook fails is killed."""
        run = cri.ContainerStatus(id=run_id, metadata=cri.ContainerMetadata(name=container["name"]))
        well, _ = await self._sandboxes.run_hook(pod, container, run, hook, "PostStartHook", HOOK_SECONDS)
        if not well:
            await self.kill(pod, run, "FailedPostStartHook", pods.grace_period(pod))
            raise NotStarted("PostStartHookError", "PostStartHook failed", 0)

    async def _pre_stop(self, pod: Json, container: Json, run: Any, grace: int) -> int:
        """Run the preStop hook; what it takes is taken from the grace period, of which two seconds always remain."""
        hook = (container.get("lifecycle") or {}).get("preStop")
        if not hook or not grace:
            return grace
        _, left = await self._sandboxes.run_hook(pod, container, run, hook, "PreStopHook", grace)
        return max(2, left)

    async def _clear(self, runs: list[Any]) -> None:
        """Remove old runs with their logs; `runs` are those before the one just started."""
        for run in runs[KEPT_RUNS - 1 :]:
            if run.state == EXITED:
                with contextlib.suppress(RuntimeFailure):
                    await self._context.runtime.call("RemoveContainer", cri.RemoveContainerRequest(container_id=run.id))
                for log in Path(run.log_path).parent.glob(Path(run.log_path).name + "*"):
                    log.unlink(missing_ok=True)

    def _refused(self, pod: Json, container: Json, reason: str, error: RuntimeFailure) -> Exception:
        return error if error.is_outage else self._failed(pod, container, reason, error.message)

    def _failed(self, pod: Json, container: Json, reason: str, message: str) -> NotStarted:
        self._context.event(pod, "Warning", "Failed", f"Error: {message}", container)
        return NotStarted(reason, message, RETRY_SECONDS)


def _attempt(pod: Json, container: Json, state: PodState) -> int:
    """How often the container was restarted, also when the runtime has forgotten its older runs."""
    run = state.latest(container["name"])
    known = pods.container_status(pod, container["name"])
    told = known.get("restartCount", 0) + 1 if known.get("containerID") else 0
    return max(run.metadata.attempt + 1 if run else 0, told)


def _check_not_root(pod: Json, container: Json, image: Any) -> None:
    security = (pod["spec"].get("securityContext") or {}) | (container.get("securityContext") or {})
    if not security.get("runAsNonRoot"):
        return
    user = security.get("runAsUser")
    if user == 0:
        raise ConfigError("container's runAsUser breaks non-root policy")
    if user is None and not image.username and not (image.HasField("uid") and image.uid.value):
        raise ConfigError("container has runAsNonRoot and image will run as root")


def _duration(seconds: float) -> str:
    """10s, 2m40s: as Go writes durations."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{rest:g}s"
