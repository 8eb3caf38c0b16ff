"""One worker for each pod: look, decide on one step, take it, look again, until the pod is as it should be.

The worker is level triggered (`loop`). Whatever wakes it (a change of the pod, of the runtime, of a probe, or time), it
looks at everything afresh; a step that is cut off half way, by the pod's deletion or by the death of this process, is
simply found half done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.pod.admission import Rejection
from k8sext.infra.kubelet.pod.events import PodEvents
from k8sext.infra.kubelet.pod.hooks import Handlers, Outcome
from k8sext.infra.kubelet.pod.loop import NEVER, StepLoop, all_of
from k8sext.infra.kubelet.pod.plan import Kill, Plan, next_step
from k8sext.infra.kubelet.pod.probes import Prober
from k8sext.infra.kubelet.pod.status import Observation, merge, newest, pod_status
from k8sext.infra.kubelet.pod.status_manager import StatusManager
from k8sext.infra.kubelet.pod.termination_message import termination_messages
from k8sext.infra.kubelet.pod.termination_order import Turn, end_in_order
from k8sext.infra.kubelet.runtime.cache import PodCache, PodState
from k8sext.infra.kubelet.runtime.client import RuntimeFailure
from k8sext.infra.kubelet.runtime.containers import Containers
from k8sext.infra.kubelet.runtime.images import NotStarted
from k8sext.infra.kubelet.runtime.sandbox import Sandboxes
from k8sext.infra.kubelet.volumes.manager import VolumeError, Volumes
from k8sext.kube.objects import Json, key_of, timestamp
from k8sext.kube.pod import all_containers
from k8sext.kube.request import ApiError, Unreachable

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

EVICTED = "Evicted"
EVICTION_GRACE = 1
"""Seconds. Source: immediateEvictionGracePeriodSeconds of pkg/kubelet/eviction."""


class PodWorker:
    """Makes one pod come true, from its first sight to its last trace."""

    def __init__(
        self,
        pod: Json,
        rejection: Rejection | None,
        *,
        client: ApiClient,
        events: PodEvents,
        cache: PodCache,
        sandboxes: Sandboxes,
        containers: Containers,
        volumes: Volumes,
        handlers: Handlers,
        clean_up: Callable[[str], Awaitable[None]],
        runtime_name: str,
        node_ip: str,
    ) -> None:
        """`rejection` says why the pod may not run here; `clean_up` removes what is left of a pod, by its uid."""
        self.pod = pod
        self._rejection = rejection
        self._events, self._cache = events, cache
        self._sandboxes, self._containers, self._volumes = sandboxes, containers, volumes
        self._handlers, self._clean_up = handlers, clean_up
        self._runtime_name, self._node_ip = runtime_name, node_ip
        self._status = StatusManager(client, podspec.phase(pod))
        self._prober = Prober(self._ask, self._note_health, self._unhealthy)
        self._health_changed = asyncio.Event()
        self._sandbox_ip = ""
        self._reasons: dict[str, tuple[str, str]] = {}
        self._volumes_due = 0.0
        self._loop = StepLoop(self._next_step, self._complain)
        self._gone = self._ended = self._evicted = False

    @property
    def takes_resources(self) -> bool:
        """Does it count when the next pod asks for room?"""
        return not (self._gone or self._ended or self._rejection or podspec.is_terminal(self.pod))

    def wake(self) -> None:
        """Something has changed: look again."""
        self._loop.wake()

    def update(self, pod: Json) -> None:
        """The API server shows the pod so now."""
        less_time = podspec.is_deleted(pod) and (
            not podspec.is_deleted(self.pod) or podspec.grace_period(pod) < podspec.grace_period(self.pod)
        )
        self._status.see(pod)
        self.pod = pod | {"status": newest(pod, self.pod)}
        self._loop.interrupt() if less_time else self.wake()

    def gone(self) -> None:
        """The API server knows the pod no more."""
        if not self._gone:
            self._gone = True
            self.wake() if podspec.is_deleted(self.pod) else self._loop.interrupt()

    def evict(self, message: str) -> None:
        """End the pod, which has failed, because of what it uses. One that is ending anyway goes its own way."""
        if self._gone or podspec.is_deleted(self.pod) or podspec.is_terminal(self.pod):
            return
        self._events.warning(self.pod, EVICTED, message)
        self.pod = podspec.failed(self.pod, EVICTED, message)
        self._evicted = True
        self._loop.interrupt()

    async def run(self) -> None:
        """Work until the pod is gone from the API server and from this node."""
        try:
            await self._loop.run(lambda: self._ended and self._gone)
        finally:
            self._prober.forget_all_but(set())
            self._status.close()

    def _complain(self, failure: Exception) -> None:
        """Say what went wrong, in the log and, if the pod's own machine was in the way, in an event."""
        while isinstance(failure, ExceptionGroup):
            failure = failure.exceptions[0]
        outage = isinstance(failure, RuntimeFailure) and failure.is_outage  # one warning for the node is enough
        expected = isinstance(failure, (RuntimeFailure, ApiError, Unreachable, VolumeError, OSError))
        level, trace = logging.DEBUG if outage else logging.WARNING, None if expected else failure
        log.log(level, "%s: %s; trying again", key_of(self.pod), failure, exc_info=trace)
        if isinstance(failure, OSError) or not expected:
            self._events.warning(self.pod, "FailedSync", f"error syncing pod, trying again: {failure}")

    async def _next_step(self) -> float:
        if self._ended:
            return NEVER
        if self._gone or podspec.is_deleted(self.pod):
            return await self._terminate()
        if self._rejection and not podspec.is_terminal(self.pod):
            return self._reject(self._rejection)
        if podspec.seconds_left(self.pod, time.time()) <= 0:
            self._out_of_time()
        state = await self._cache.state(podspec.uid(self.pod))
        plan = next_step(self.pod, state, self._prober)
        if plan.finished:
            return await self._finish(state)
        self._look_after_health(state)
        self._report(state)
        if plan.new_sandbox:
            await all_of(self._prepare_volumes(""), self._sandboxes.create(self.pod, state))
            return 0
        return min(await self._carry_out(plan, state), podspec.seconds_left(self.pod, time.time()))

    async def _carry_out(self, plan: Plan, state: PodState) -> float:
        if not self._volumes.stand(self.pod):
            await self._refresh_volumes(state)
        async with asyncio.TaskGroup() as group:
            refresh = group.create_task(self._refresh_volumes(state))
            for kill in plan.kill:
                group.create_task(self._kill(kill, state))
            # one after the other: the next waits for the postStart hook of the one before
            waits = [await self._start(container, state) for container in plan.start]
        if waits:
            after = await self._cache.state(podspec.uid(self.pod))
            self._look_after_health(after)
            self._report(after)
        return 0 if plan.kill or 0 in waits else min([refresh.result(), *waits])

    async def _kill(self, kill: Kill, state: PodState) -> None:
        grace = podspec.grace_period(self.pod) if kill.grace is None else kill.grace
        await self._containers.kill(self.pod, kill.run, state, kill.reason, grace)
        if kill.again:
            await self._start(kill.again, state)

    async def _start(self, container: Json, state: PodState) -> float:
        """Start a container. Returns 0 if it runs, else how long to wait before trying again."""
        try:
            await self._containers.start(self.pod, container, state)
        except NotStarted as waiting:
            self._reasons[container["name"]] = (waiting.reason, waiting.message)
            return max(waiting.retry_in, 0.05)
        self._reasons.pop(container["name"], None)
        return 0

    async def _finish(self, state: PodState) -> float:
        """Nothing will run again: end what still runs and keep only what `kubectl logs` wants."""
        await self._end_containers(state, EVICTION_GRACE if self._evicted else podspec.grace_period(self.pod))
        if state.sandboxes:  # else nothing of it ever ran here: it was rejected, or cleared away before
            await self._sandboxes.stop(state)
            self._report(await self._cache.state(podspec.uid(self.pod)), ended=True)
            self._reasons.clear()
            await self._status.flush()
        await self._volumes.remove(podspec.uid(self.pod))
        return NEVER

    async def _terminate(self) -> float:
        """The pod is to go: end its containers in the time it was given, tell how they ended, leave nothing, let the
        name go."""
        forced = self._gone and not podspec.is_deleted(self.pod)
        grace = 0 if forced else podspec.grace_period(self.pod)
        uid = podspec.uid(self.pod)
        state = await self._cache.state(uid)
        await self._end_containers(state, grace)
        await self._sandboxes.stop(state)
        if not self._gone:
            self._report(await self._cache.state(uid), ended=True)
            await self._status.flush()
        await self._clean_up(uid)
        if not self._gone:
            await self._status.let_go(self.pod)
        self._ended = True
        return NEVER

    async def _end_containers(self, state: PodState, grace: int) -> None:
        """End what runs. Readiness is asked for until the end: who ends politely takes no new work."""
        self._prober.end()

        async def kill(run: cri.ContainerStatus, turn: Turn) -> None:
            await self._containers.kill(self.pod, run, state, f"Stopping container {run.metadata.name}", grace, turn)

        telling = asyncio.create_task(self._tell_readiness())
        try:
            await end_in_order(self.pod, state.running(), kill)
        finally:
            telling.cancel()
            self._prober.forget_all_but(set())

    async def _tell_readiness(self) -> None:
        while True:
            await self._health_changed.wait()
            self._health_changed.clear()
            self._report(await self._cache.state(podspec.uid(self.pod)))

    def _note_health(self) -> None:
        self._health_changed.set()
        self.wake()

    def _out_of_time(self) -> None:
        """The pod has failed. What runs of it is ended on the way of every pod that has."""
        reason, message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
        self._events.normal(self.pod, reason, message)
        self.pod = podspec.failed(self.pod, reason, message)

    def _reject(self, rejection: Rejection) -> float:
        self._events.warning(self.pod, rejection.reason, rejection.message)
        message = f"Pod was rejected: {rejection.message}"
        status = {"phase": "Failed", "reason": rejection.reason, "message": message, "startTime": timestamp()}
        self._status.report(self.pod, status)
        return NEVER

    async def _refresh_volumes(self, state: PodState) -> float:
        """Write the volumes again if it is time. Returns when it will be."""
        if not self.pod["spec"].get("volumes"):
            return NEVER
        now = asyncio.get_running_loop().time()
        if now >= self._volumes_due:
            await self._prepare_volumes(state.ip)
        return max(0.0, self._volumes_due - now)

    async def _prepare_volumes(self, sandbox_ip: str) -> None:
        try:
            warn = partial(self._events.warning, self.pod, "FailedMount")
            delay = await self._volumes.prepare(self.pod, sandbox_ip, warn)
        except VolumeError as error:
            self._events.warning(self.pod, "FailedMount", str(error))
            raise
        self._volumes_due = asyncio.get_running_loop().time() + delay

    def _look_after_health(self, state: PodState) -> None:
        self._sandbox_ip = state.ip
        self._prober.forget_all_but({run.id for run in state.running()})
        specs = {container["name"]: container for container in all_containers(self.pod)}
        for run in state.running():
            if container := specs.get(run.metadata.name):
                self._reasons.pop(run.metadata.name, None)
                self._prober.watch(container, run, podspec.container_status(self.pod, run.metadata.name))

    async def _ask(self, container: Json, run: cri.ContainerStatus, probe: Json) -> Outcome:
        ip = podspec.pod_ip(self.pod, self._sandbox_ip, self._node_ip)
        return await self._handlers.run(probe, container, run.id, ip, probe.get("timeoutSeconds", 1))

    def _unhealthy(self, kind: str, container: Json, output: str) -> None:
        self._events.warning(self.pod, "Unhealthy", f"{kind.capitalize()} probe failed: {output}", container)

    def _report(self, state: PodState, *, ended: bool = False) -> None:
        seen = Observation(
            state=state,
            health=self._prober,
            runtime_name=self._runtime_name,
            node_ip=self._node_ip,
            reasons=self._reasons,
            messages=termination_messages(self.pod, state),
            ended=ended,
        )
        status = pod_status(self.pod, seen, timestamp())
        self._status.report(self.pod, status, running=bool(state.running()))
        self.pod = self.pod | {"status": merge(self.pod.get("status", {}), status)}
