"""One pod on a stage: its worker, between a runtime and an API server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from k8sext.infra.kubelet.pod.admission import Rejection
from k8sext.infra.kubelet.pod.worker import PodWorker
from k8sext.kube.objects import Json
from tests.infra.kubelet.fakes import FakeApi, FakeRuntime, Parts
from tests.support.eventually import eventually_async


class Stage:
    """One pod, its worker, and the two it deals with."""

    def __init__(self, parts: Parts, runtime: FakeRuntime, api: FakeApi) -> None:
        self.parts, self.runtime, self.api = parts, runtime, api
        self.worker: PodWorker
        self.task: asyncio.Task[None]

    def play(self, of: Json, rejection: Rejection | None = None) -> None:
        """Start a worker, as a kubelet does that sees this pod."""
        of = of | {"spec": of["spec"] | {"enableServiceLinks": False}}
        self.worker = self.parts.new_worker(of, rejection)
        self.task = asyncio.create_task(self.worker.run())

    async def die(self) -> None:
        """The kubelet is gone, without a chance to tidy up."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds, or raise what the worker raises."""

        def look() -> object:
            if self.task.done() and not self.task.cancelled():
                self.task.result()
            return condition()

        await eventually_async(look, every=0.01)

    def show(self, status: Json, version: str) -> None:
        """The watch brings the pod with this status."""
        shown = self.worker.pod
        self.worker.update(shown | {"metadata": shown["metadata"] | {"resourceVersion": version}, "status": status})

    def delete(self, grace: int = 5) -> None:
        metadata = self.worker.pod["metadata"] | {
            "deletionTimestamp": "2026-11-22T18:00:00Z",
            "deletionGracePeriodSeconds": grace,
        }
        self.worker.update(self.worker.pod | {"metadata": metadata})
