"""Start a container, end a container, clear away what its older runs left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import env, not_honoured, podspec
from k8sext.infra.kubelet.pod.env import ConfigError, Environment
from k8sext.infra.kubelet.pod.events import PodEvents
from k8sext.infra.kubelet.pod.hooks import Handlers
from k8sext.infra.kubelet.pod.network_files import hosts_mounts
from k8sext.infra.kubelet.pod.termination_message import message_file, message_mounts
from k8sext.infra.kubelet.pod.termination_order import Turn
from k8sext.infra.kubelet.runtime.backoff import Backoff
from k8sext.infra.kubelet.runtime.cache import CREATED, EXITED, NANOSECONDS, PodState
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure
from k8sext.infra.kubelet.runtime.images import Images, NotStarted
from k8sext.infra.kubelet.runtime.sandbox import Sandboxes
from k8sext.infra.kubelet.runtime.translate import container_config, container_hash
from k8sext.infra.kubelet.volumes.manager import VolumeError, Volumes
from k8sext.kube.objects import Json, key_of, part
from k8sext.kube.pod import all_containers

log = logging.getLogger(__name__)

RETRY_SECONDS = 3.0
HOOK_SECONDS = 600
SHORTEST_GRACE = 2
KEPT_RUNS = 2
"""The current run and the one before, for `kubectl logs --previous`."""


class Containers:
    """The containers of one node."""

    def __init__(
        self,
        runtime: RuntimeClient,
        images: Images,
        sandboxes: Sandboxes,
        environment: Environment,
        volumes: Volumes,
        handlers: Handlers,
        events: PodEvents,
        restarts: Backoff,
        limits_note: str,
    ) -> None:
        """`limits_note` says why the runtime does not enforce limits; "" if it does, or does not say."""
        self._runtime, self._images, self._sandboxes = runtime, images, sandboxes
        self._environment, self._volumes, self._handlers = environment, volumes, handlers
        self._events, self._restarts, self._limits_note = events, restarts, limits_note

    async def start(self, pod: Json, container: Json, state: PodState) -> None:
        """Bring one container to run in the pod's sandbox. Raises NotStarted when it has to wait."""
        runs = state.runs(container["name"])
        if runs and runs[0].state == CREATED and state.is_here(runs[0]):
            await self._start(pod, container, runs[0].id, state)
            return
        self._wait_after_crash(pod, container, next((run for run in runs if run.state == EXITED), None))
        run_id = await self._create(pod, container, state)
        await self._start(pod, container, run_id, state)
        await self._clear(state.runs(container["name"]))

    async def kill(
        self,
        pod: Json,
        run: cri.ContainerStatus,
        state: PodState,
        reason: str,
        grace: int,
        turn: Turn | None = None,
    ) -> None:
        """End one run: the preStop hook, then, when it is its `turn`, SIGTERM, and after the grace period SIGKILL.

        All of it has `grace` seconds; two are always left for SIGTERM (pkg/kubelet/kuberuntime, killContainer).
        """
        container = next((c for c in all_containers(pod) if c["name"] == run.metadata.name), None)
        if container:
            self._events.normal(pod, "Killing", reason, container)
            grace = await self._pre_stop(pod, container, run, state, grace)
        if turn and grace > 0:
            grace = await turn(grace)
        await self._runtime.stop_container(run.id, max(grace, SHORTEST_GRACE))

    def _wait_after_crash(self, pod: Json, container: Json, run: cri.ContainerStatus | None) -> None:
        if run is None:
            return
        key, ended = (podspec.uid(pod), container["name"], container_hash(container)), run.finished_at / NANOSECONDS
        if wait := self._restarts.remaining(key, ended):
            name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}({podspec.uid(pod)})"
            if self._restarts.tell(key):  # a pod may have 25 events at once: more of these would cost others
                event = f"Back-off restarting failed container {container['name']} in pod {name}"
                self._events.warning(pod, "BackOff", event, container)
            delay = _duration(self._restarts.delay(key))
            message = f"back-off {delay} restarting failed container={container['name']} pod={name}"
            raise NotStarted("CrashLoopBackOff", message, wait)
        self._restarts.failed(key, ended)

    async def _create(self, pod: Json, container: Json, state: PodState) -> str:
        sandbox = state.sandbox
        assert sandbox is not None
        config = self._sandboxes.config(pod, sandbox.metadata.attempt)
        image = await self._images.ensure(pod, container, config, sandbox.runtime_handler)
        try:
            _check_not_root(pod, container, image)
            variables = await self._environment.variables(pod, container, state.ip)
            mounts = self._volumes.mounts(pod, container, variables)
            attempt = _attempt(pod, container, state)
            ip = self._environment.surroundings(pod, state.ip).pod_ip
            mounts += hosts_mounts(pod, container, ip, self._volumes.pod_folder(pod))
            mounts += message_mounts(container, Path(config.log_directory, container["name"], f"{attempt}.log"))
        except (ConfigError, VolumeError, OSError) as error:
            raise self._failed(pod, container, "CreateContainerConfigError", str(error)) from error
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox.id,
            sandbox_config=config,
            config=container_config(
                pod,
                container,
                attempt=attempt,
                target=_target(container, state),
                image=image,
                env=variables,
                command=env.expand_all(container.get("command"), variables),
                args=env.expand_all(container.get("args"), variables),
                mounts=mounts,
            ),
        )
        try:
            run_id = await self._runtime.create_container(request)
        except RuntimeFailure as error:
            raise self._refused(pod, container, "CreateContainerError", error) from error
        self._events.normal(pod, "Created", "Container created", container)
        if fields := not_honoured.of_container(container):
            self._events.warning(pod, *not_honoured.told(fields), container)
        if self._limits_note and part(container, "resources").get("limits"):
            self._events.warning(pod, "LimitsNotEnforced", self._limits_note, container)
        return run_id

    async def _start(self, pod: Json, container: Json, run_id: str, state: PodState) -> None:
        try:
            await self._runtime.start_container(run_id)
        except RuntimeFailure as error:
            raise self._refused(pod, container, "RunContainerError", error) from error
        self._events.normal(pod, "Started", "Container started", container)
        if hook := part(container, "lifecycle").get("postStart"):
            await self._post_start(pod, container, run_id, state, hook)

    async def _post_start(self, pod: Json, container: Json, run_id: str, state: PodState, hook: Json) -> None:
        """Run the postStart hook; a container whose hook fails is killed."""
        run = cri.ContainerStatus(id=run_id, metadata=cri.ContainerMetadata(name=container["name"]))
        well, _ = await self._run_hook(pod, container, run_id, state, hook, "PostStartHook", HOOK_SECONDS)
        if not well:
            await self.kill(pod, run, state, "FailedPostStartHook", podspec.grace_period(pod))
            raise NotStarted("PostStartHookError", "PostStartHook failed", 0)

    async def _pre_stop(self, pod: Json, container: Json, run: cri.ContainerStatus, state: PodState, grace: int) -> int:
        """Run the preStop hook. Returns what it leaves of the grace period."""
        hook = part(container, "lifecycle").get("preStop")
        if not hook or not grace:
            return grace
        _, left = await self._run_hook(pod, container, run.id, state, hook, "PreStopHook", grace)
        return left

    async def _run_hook(
        self, pod: Json, container: Json, run_id: str, state: PodState, hook: Json, name: str, seconds: int
    ) -> tuple[bool, int]:
        """Run a lifecycle hook for at most `seconds`. Returns whether it went well and the seconds left; an event
        tells of failure."""
        began, where = time.monotonic(), self._environment.surroundings(pod, state.ip)
        try:
            async with asyncio.timeout(seconds):
                well, output = await self._handlers.run(hook, container, run_id, where.pod_ip, seconds)
        except TimeoutError:
            well, output = False, f"not done after {seconds}s"
        if not well:
            log.warning("pod %s, container %s: %s failed: %s", key_of(pod), container["name"], name, output)
            self._events.warning(pod, f"Failed{name}", f"{name} failed", container)
        return bool(well), int(seconds - (time.monotonic() - began))

    async def _clear(self, runs: list[cri.ContainerStatus]) -> None:
        """Remove old runs with their logs; `runs` are those before the one just started."""
        for run in runs[KEPT_RUNS - 1 :]:
            if run.state == EXITED:
                with contextlib.suppress(RuntimeFailure):
                    await self._runtime.remove_container(run.id)
                log = Path(run.log_path)
                for file in (*log.parent.glob(f"{log.name}*"), message_file(log)):
                    file.unlink(missing_ok=True)

    def _refused(self, pod: Json, container: Json, reason: str, error: RuntimeFailure) -> Exception:
        return error if error.is_outage else self._failed(pod, container, reason, error.message)

    def _failed(self, pod: Json, container: Json, reason: str, message: str) -> NotStarted:
        self._events.warning(pod, "Failed", f"Error: {message}", container)
        return NotStarted(reason, message, RETRY_SECONDS)


def _attempt(pod: Json, container: Json, state: PodState) -> int:
    """How often the container was restarted, also when the runtime has forgotten its older runs."""
    run = state.latest(container["name"])
    known = podspec.container_status(pod, container["name"])
    told = known.get("restartCount", 0) + 1 if known.get("containerID") else 0
    return max(run.metadata.attempt + 1 if run else 0, told)


def _target(container: Json, state: PodState) -> str:
    """The run whose processes an ephemeral container is to see, "" for none."""
    run = state.latest(container.get("targetContainerName") or "")
    return run.id if run else ""


def _check_not_root(pod: Json, container: Json, image: cri.Image) -> None:
    security = part(pod["spec"], "securityContext") | part(container, "securityContext")
    if not security.get("runAsNonRoot"):
        return
    user, meta = security.get("runAsUser"), pod["metadata"]
    which = f'(pod: "{meta["name"]}_{meta["namespace"]}({meta["uid"]})", container: {container["name"]})'
    if user == 0:
        raise ConfigError(f"container's runAsUser breaks non-root policy {which}")
    if user is None and not image.username and not (image.HasField("uid") and image.uid.value):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {which}")


def _duration(seconds: float) -> str:
    """10s, 2m40s: as Go writes durations."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{rest:g}s"
