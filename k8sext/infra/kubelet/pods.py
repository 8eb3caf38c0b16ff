"""One worker for each pod: look, decide on one step, take it, look again, until the pod is as it should be.

The worker is level triggered. Whatever wakes it (a change of the pod, of the runtime, of a probe, or time), it looks at everything
afresh; a step that is cut off half way, by the pod's deletion or by the death of this process, is simply found half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Coroutine
from typing import Any

from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet import volumes
from k8sext.infra.kubelet.admission import Rejection
from k8sext.infra.kubelet.containers import Containers
from k8sext.infra.kubelet.context import Context
from k8sext.infra.kubelet.images import Images, NotStarted
from k8sext.infra.kubelet.lastwords import last_words
from k8sext.infra.kubelet.plan import Plan, next_step
from k8sext.infra.kubelet.pod import Json
from k8sext.infra.kubelet.probes import Prober
from k8sext.infra.kubelet.report import Reporter
from k8sext.infra.kubelet.runtime import PodState, RuntimeFailure
from k8sext.infra.kubelet.sandbox import Sandboxes
from k8sext.infra.kubelet.status import Observation, merge, newest, pod_status
from k8sext.infra.kubelet.volumes import VolumeError
from k8sext.kube.events import timestamp
from k8sext.kube.request import ApiError, Unreachable, request

log = logging.getLogger(__name__)

NEVER = math.inf
SHORTEST_GRACE = 2


class PodWorker:
    """Makes one pod come true, from its first sight to its last trace."""

    def __init__(
        self, context: Context, runtime_name: str, images: Images, pod: Json, rejection: Rejection | None
    ) -> None:
        self.pod = pod
        self._context, self._runtime_name, self._rejection = context, runtime_name, rejection
        self._images = images
        self._sandboxes = Sandboxes(context)
        self._containers = Containers(context, images, self._sandboxes)
        self._reporter = Reporter(context.client)
        self._prober = Prober(self._ask, self.wake, self._unhealthy)
        self._reasons: dict[str, tuple[str, str]] = {}
        self._volumes_due = 0.0
        self._retry = 1.0
        self._wake = asyncio.Event()
        self._step: asyncio.Task[float] | None = None
        self._gone = self._ended = False

    @property
    def takes_resources(self) -> bool:
        """Does it count when the next pod asks for room?"""
        return not (self._gone or self._ended or self._rejection or pods.is_terminal(self.pod))

    def wake(self) -> None:
        """Something has changed: look again."""
        self._wake.set()

    def update(self, pod: Json) -> None:
        """The API server shows the pod so now."""
        less_time = pods.is_deleted(pod) and (
            not pods.is_deleted(self.pod) or pods.grace_period(pod) < pods.grace_period(self.pod)
        )
        self.pod = pod | {"status": newest(pod, self.pod)}
        self._interrupt() if less_time else self.wake()

    def gone(self) -> None:
        """The API server knows the pod no more."""
        if not self._gone:
            self._gone = True
            self.wake() if pods.is_deleted(self.pod) else self._interrupt()

    async def run(self) -> None:
        """Work until the pod is gone from the API server and from this node."""
        try:
            while not (self._ended and self._gone):
                self._wake.clear()
                delay = min(await self._step_or_retry(), pods.seconds_left(self.pod, time.time()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if delay == NEVER else delay):
                        await self._wake.wait()
        finally:
            self._prober.forget_all_but(set())
            self._reporter.close()

    def _interrupt(self) -> None:
        self.wake()
        if self._step:
            self._step.cancel()

    async def _step_or_retry(self) -> float:
        """Take one step. Returns how long to wait for the next: 0 to go on at once, NEVER if only a change can bring one."""
        self._step = asyncio.create_task(self._sync(), name=f"sync {pods.full_name(self.pod)}")
        try:
            delay = await self._step
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            return 0
        except Exception as failure:
            self._complain(failure)
            self._retry = min(self._retry * 2, 30)
            return self._retry / 4
        finally:
            self._step = None
        self._retry = 1.0
        return delay

    def _complain(self, failure: Exception) -> None:
        """Say what went wrong, in the log and, if the pod's own machine was in the way, in an event."""
        while isinstance(failure, ExceptionGroup):
            failure = failure.exceptions[0]
        outage = isinstance(failure, RuntimeFailure) and failure.is_outage  # one warning for the node is enough
        expected = isinstance(failure, (RuntimeFailure, ApiError, Unreachable, VolumeError, OSError))
        level, trace = logging.DEBUG if outage else logging.WARNING, None if expected else failure
        log.log(level, "%s: %s; trying again", pods.full_name(self.pod), failure, exc_info=trace)
        if isinstance(failure, OSError) or not expected:
            self._context.event(self.pod, "Warning", "FailedSync", f"error syncing pod, trying again: {failure}")

    async def _sync(self) -> float:
        if self._ended:
            return NEVER
        if self._gone or pods.is_deleted(self.pod):
            return await self._terminate()
        if self._rejection and not pods.is_terminal(self.pod):
            return self._reject(self._rejection)
        if pods.seconds_left(self.pod, time.time()) <= 0:
            self._out_of_time()
        state = await self._context.runtime.pod(pods.uid(self.pod))
        plan = next_step(self.pod, state, self._context.runtime.sandbox_of, self._prober)
        if plan.finished:
            return await self._finish(state)
        self._look_after_health(state)
        self._report(state)
        if plan.new_sandbox:
            await self._both(self._prepare_volumes(""), self._sandboxes.create(self.pod, state))
            return 0
        return await self._carry_out(plan, state)

    async def _carry_out(self, plan: Plan, state: PodState) -> float:
        delay = await self._refresh_volumes(state)
        grace = pods.grace_period(self.pod)
        async with asyncio.TaskGroup() as group:
            for run, reason in plan.kill:
                group.create_task(self._containers.kill(self.pod, run, reason, grace))
            starts = [group.create_task(self._start(container, state)) for container in plan.start]
        waits = [start.result() for start in starts]
        if waits:
            after = await self._context.runtime.pod(pods.uid(self.pod))
            self._look_after_health(after)
            self._report(after)
        return 0 if plan.kill or 0 in waits else min([delay, *waits])

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
        await self._end_containers(state, pods.grace_period(self.pod))
        state = await self._context.runtime.pod(pods.uid(self.pod))
        if state.sandbox:  # else nothing of it ever ran here: it was rejected, or cleared away before
            self._report(state)
            await self._reporter.flush()
            await self._sandboxes.stop(state.sandbox.id)
        await self._context.volumes.remove(pods.uid(self.pod))
        return NEVER

    async def _terminate(self) -> float:
        """The pod is to go: end its containers in the time it was given, tell how they ended, leave nothing, let the name go."""
        forced = self._gone and not pods.is_deleted(self.pod)
        grace = SHORTEST_GRACE if forced else max(pods.grace_period(self.pod), SHORTEST_GRACE)
        uid = pods.uid(self.pod)
        state = await self._context.runtime.pod(uid)
        await self._end_containers(state, grace)
        for sandbox in state.sandboxes:
            await self._sandboxes.stop(sandbox.id)
        if not self._gone:
            self._report(await self._context.runtime.pod(uid), ended=True)
            await self._reporter.flush()
        await self._sandboxes.clean_up(uid)
        self._images.forget(uid)
        if not self._gone:
            await self._let_go()
        self._ended = True
        return NEVER

    async def _let_go(self) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pods.uid(self.pod)}}
        try:
            await request(self._context.client, "DELETE", pods.path(self.pod), options)
        except ApiError as error:
            if error.code not in (404, 409):  # gone already, or another pod has the name
                raise

    async def _end_containers(self, state: PodState, grace: int) -> None:
        """End the containers at once, then the sidecars, the last one first."""
        self._prober.forget_all_but(set())
        sidecars = [c["name"] for c in pods.init_containers(self.pod) if pods.is_sidecar(c)]
        async with asyncio.TaskGroup() as group:
            for run in state.running():
                if run.metadata.name not in sidecars:
                    group.create_task(self._kill(run, grace))
        for name in reversed(sidecars):
            for run in state.running():
                if run.metadata.name == name:
                    await self._kill(run, grace)

    async def _kill(self, run: Any, grace: int) -> None:
        await self._containers.kill(self.pod, run, f"Stopping container {run.metadata.name}", grace)

    def _out_of_time(self) -> None:
        """The pod has failed. What runs of it is ended on the way of every pod that has."""
        reason, message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
        self._context.event(self.pod, "Normal", reason, message)
        self.pod = pods.failed(self.pod, reason, message)

    def _reject(self, rejection: Rejection) -> float:
        self._context.event(self.pod, "Warning", rejection.reason, rejection.message)
        message = f"Pod was rejected: {rejection.message}"
        status = {"phase": "Failed", "reason": rejection.reason, "message": message, "startTime": timestamp()}
        self._reporter.report(self.pod, status)
        return NEVER

    async def _refresh_volumes(self, state: PodState) -> float:
        """Write the volumes again if it is time. Returns when it will be."""
        if not self.pod["spec"].get("volumes"):
            return NEVER
        now = asyncio.get_running_loop().time()
        if now >= self._volumes_due:
            await self._prepare_volumes(self._sandboxes.ip(self.pod, state))
        return max(0.0, self._volumes_due - now)

    async def _prepare_volumes(self, pod_ip: str) -> None:
        where = await self._context.surroundings(self.pod, pod_ip)
        try:
            renew_at = await self._context.volumes.prepare(self.pod, where)
        except VolumeError as error:
            self._context.event(self.pod, "Warning", "FailedMount", str(error))
            raise
        delay = volumes.soon(renew_at, self._context.settings.sync_frequency)
        self._volumes_due = asyncio.get_running_loop().time() + delay

    def _look_after_health(self, state: PodState) -> None:
        running = {run.id for run in state.running()}
        self._prober.forget_all_but(running)
        specs = {container["name"]: container for container in pods.all_containers(self.pod)}
        for run in state.running():
            if container := specs.get(run.metadata.name):
                self._reasons.pop(run.metadata.name, None)
                self._prober.watch(container, run, pods.container_status(self.pod, run.metadata.name))

    async def _ask(self, container: Json, run: Any, probe: Json) -> tuple[bool, str]:
        state = await self._context.runtime.pod(pods.uid(self.pod))
        ip = self._sandboxes.ip(self.pod, state)
        return await self._context.actions.run(probe, container, run, ip, probe.get("timeoutSeconds", 1))

    def _unhealthy(self, kind: str, container: Json, output: str) -> None:
        self._context.event(self.pod, "Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {output}", container)

    def _report(self, state: PodState, *, ended: bool = False) -> None:
        seen = Observation(
            state=state,
            health=self._prober,
            runtime_name=self._runtime_name,
            node_ip=self._context.node_ip,
            pod_ip=self._sandboxes.ip(self.pod, state),
            reasons=self._reasons,
            messages=last_words(self.pod, state),
            ended=ended,
        )
        status = pod_status(self.pod, seen, timestamp())
        self._reporter.report(self.pod, status)
        self.pod = self.pod | {"status": merge(self.pod.get("status", {}), status)}

    async def _both(self, *steps: Coroutine[Any, Any, None]) -> None:
        """Take independent steps at once; what goes wrong first counts, but all are ended before."""
        results = await asyncio.gather(*steps, return_exceptions=True)
        for result in results:
            if isinstance(result, NotStarted):
                raise OSError(result.message)
            if isinstance(result, BaseException):
                raise result
