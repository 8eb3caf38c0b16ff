"""Probes: ask a container again and again whether it has started, is ready, is alive.

Source: "Liveness, Readiness, and Startup Probes" in the Kubernetes documentation, and the prober of the kubelet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.runtime.cache import NANOSECONDS
from k8sext.kube.objects import Json

log = logging.getLogger(__name__)

KINDS = ("startup", "liveness", "readiness")

Ask = Callable[[Json, cri.ContainerStatus, Json], Awaitable[tuple[bool | None, str]]]
"""Asks once: container spec, its run, the probe; answers whether all is well (None: not known), and what was said."""


@dataclass
class Verdict:
    """What the probes of one run of a container have found so far."""

    started: bool = False
    ready: bool = False
    failure: str = ""
    """The kind of probe ("liveness", "startup") that found the container dead, "" while it lives."""


@dataclass
class Prober:
    """The probes of one pod. `changed` is called whenever a verdict changes, `unhealthy` for each failure: kind,
    container, output."""

    ask: Ask
    changed: Callable[[], None]
    unhealthy: Callable[[str, Json, str], None]
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _ending: bool = False

    def started(self, run_id: str) -> bool:
        return run_id in self.verdicts and self.verdicts[run_id].started

    def ready(self, run_id: str) -> bool:
        return self.started(run_id) and self.verdicts[run_id].ready

    def failure(self, run_id: str) -> str:
        return self.verdicts[run_id].failure if run_id in self.verdicts else ""

    def watch(self, container: Json, run: cri.ContainerStatus, known: Json) -> None:
        """Probe this run from now on. `known` is its status at the API server: a new kubelet does not doubt what the
        last one found."""
        if run.id in self.verdicts:
            return
        before = known if known.get("containerID", "").endswith(run.id) else {}
        self.verdicts[run.id] = Verdict(
            started="startupProbe" not in container or bool(before.get("started")),
            ready="readinessProbe" not in container or bool(before.get("ready")),
        )
        if any(f"{kind}Probe" in container for kind in KINDS):
            self._tasks[run.id] = asyncio.create_task(
                self._probe(container, run), name=f"probes of {container['name']}"
            )

    def end(self) -> None:
        """The pod ends: from now on only readiness is asked for."""
        self._ending = True

    def forget_all_but(self, run_ids: set[str]) -> None:
        """Stop probing every other run."""
        for run_id in self.verdicts.keys() - run_ids:
            del self.verdicts[run_id]
            if task := self._tasks.pop(run_id, None):
                task.cancel()

    async def _probe(self, container: Json, run: cri.ContainerStatus) -> None:
        """The startup probe comes first and alone; liveness and readiness follow once it has succeeded."""
        verdict = self.verdicts[run.id]
        if "startupProbe" in container and not verdict.started:
            await self._repeat("startup", container, run, verdict)
        if not verdict.failure:
            async with asyncio.TaskGroup() as group:
                for kind in ("liveness", "readiness"):
                    if f"{kind}Probe" in container:
                        group.create_task(self._repeat(kind, container, run, verdict))

    async def _repeat(self, kind: str, container: Json, run: cri.ContainerStatus, verdict: Verdict) -> None:
        probe = container[f"{kind}Probe"]
        begin = run.started_at / NANOSECONDS + probe.get("initialDelaySeconds", 0)
        await asyncio.sleep(max(0.0, begin - time.time()))
        in_a_row, last = 0, None
        while True:
            try:
                healthy, output = await self.ask(container, run, probe)
            except Exception:  # whoever stops asking leaves a dead container running
                log.exception("the %s probe of %s could not be asked", kind, container["name"])
                healthy, output = None, ""
            if self._ending and kind != "readiness":
                return
            if healthy is None:  # an answer that nobody gave is no failure
                await asyncio.sleep(probe.get("periodSeconds", 10))
                continue
            in_a_row, last = (in_a_row + 1 if healthy == last else 1), healthy
            if not healthy:
                self.unhealthy(kind, container, output)
            threshold = probe.get("successThreshold", 1) if healthy else probe.get("failureThreshold", 3)
            if in_a_row >= threshold and self._judge(kind, verdict, healthy):
                return
            await asyncio.sleep(probe.get("periodSeconds", 10))

    def _judge(self, kind: str, verdict: Verdict, healthy: bool) -> bool:
        """Write a finding down; True if this probe has nothing more to find out."""
        before = (verdict.started, verdict.ready, verdict.failure)
        if kind == "readiness":
            verdict.ready = healthy
        elif not healthy:
            verdict.failure = kind
        elif kind == "startup":
            verdict.started = True
        if before != (verdict.started, verdict.ready, verdict.failure):
            self.changed()
        return kind != "readiness" and (not healthy or kind == "startup")
