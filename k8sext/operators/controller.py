"""The weather controller by hand, in the shape of Kubernetes' sample-controller.

Observe: two informers keep copies of all reports and of the pods that belong to them. Whatever happens to either, the
key of the report goes into the queue. Analyse: a worker takes a key and looks at the report and its pods as they are
now. Act: `reconcile`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from k8sext.kube.controller import Result, work
from k8sext.kube.informer import Change, Informer, running, without_managed_fields
from k8sext.kube.metrics import ControllerMetrics
from k8sext.kube.objects import Json, controller_of, key_of
from k8sext.kube.queue import WorkQueue
from k8sext.kube.resource import PODS
from k8sext.operators.plan import SELECTOR, Plan
from k8sext.operators.reconcile import REPORTS, Recorder, reconcile
from k8sext.resources import KIND

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which we stop waiting for our own pod to show up, and decide by what we see."""


class Controller:
    """Looks after the WeatherReports of one namespace, or of all if it is empty. `await run()`; `stop()` ends it."""

    def __init__(
        self,
        client: ApiClient,
        namespace: str = "",
        *,
        recorder: Recorder | None = None,
        metrics: ControllerMetrics | None = None,
    ) -> None:
        self.metrics = metrics or ControllerMetrics("weatherreport")
        self.queue: WorkQueue[str] = WorkQueue(observer=self.metrics)
        self.reports = Informer(client, REPORTS.collection(namespace), transform=without_managed_fields)
        self.pods = Informer(
            client,
            PODS.collection(namespace),
            query={"labelSelector": SELECTOR},
            indexes={"owner": owner_uid},
            transform=transform,
        )
        self._client = client
        self._recorder = recorder
        self._created: dict[str, tuple[str, float]] = {}
        self.reports.on_change(self._handle_report)
        self.pods.on_change(self._handle_pod)

    @property
    def synced(self) -> bool:
        """Whether both copies of the world are there."""
        return self.reports.synced.is_set() and self.pods.synced.is_set()

    async def run(self, workers: int = 16) -> None:
        """Fill the copies, then let the workers work until `stop` is called; what waits then is still done."""
        async with running(self.reports, self.pods):
            log.info("watching %d reports and %d pods", len(self.reports.store), len(self.pods.store))
            await work("WeatherReport", self.queue, self.reconcile, workers, self.metrics)

    def stop(self) -> None:
        """Let `run` end when everything in the queue is done."""
        self.queue.shut_down()

    async def reconcile(self, key: str) -> Result | None:
        """Compare what is with what ought to be, and act: `kube.controller` says what it may rely on."""
        report = self.reports.store.get(key)
        if report is None or "deletionTimestamp" in report["metadata"]:
            self._created.pop(key, None)
            return None  # gone or going: the garbage collector takes the pods
        if self._is_behind(key):
            return Result(requeue_after=PATIENCE, settled=False)
        decision = await self.act(report, self.pods.store.by_index("owner", report["metadata"]["uid"]))
        return Result(decision.requeue_after, decision.settled)

    async def act(self, report: Json, pods: list[Json]) -> Plan:
        """Carry out what is to be done about one report. Raises ApiError and Unreachable."""
        decision = await reconcile(self._client, report, pods, self._recorder)
        if decision.create:
            self._created[key_of(report)] = (key_of(decision.create), time.monotonic())
        return decision

    def _is_behind(self, key: str) -> bool:
        """Whether a pod we made has not shown up in our copy yet: who decides without it makes it again, and is
        refused."""
        pod, when = self._created.get(key, ("", 0.0))
        if pod and pod not in self.pods.store and time.monotonic() < when + PATIENCE:
            return True
        self._created.pop(key, None)
        return False

    def _handle_report(self, change: Change, report: Json) -> None:
        self.queue.add(key_of(report))

    def _handle_pod(self, change: Change, pod: Json) -> None:
        """Find the report behind a pod. One whose pod is deleted again and again is collected later each time."""
        owner = controller_of(pod)
        if owner is None or owner["kind"] != KIND:
            return
        key = f"{pod['metadata']['namespace']}/{owner['name']}"
        report = self.reports.store.get(key)
        if change == "DELETED":
            self._created.pop(key, None)
        if change == "DELETED" and report and report["metadata"]["uid"] == owner["uid"]:
            self.queue.add_rate_limited(key)
        else:
            self.queue.add(key)


def owner_uid(pod: Json) -> list[str]:
    """The index by which a report's pods are found."""
    owner = controller_of(pod)
    return [owner["uid"]] if owner and owner["kind"] == KIND else []


def transform(pod: Json) -> Json:
    """Keep of a pod what this operator reads: ten thousand whole pods would fill the memory."""
    metadata, status = pod["metadata"], pod.get("status", {})
    kept = ("name", "namespace", "uid", "resourceVersion", "annotations", "ownerReferences", "deletionTimestamp")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "status": {name: status[name] for name in ("phase", "containerStatuses", "message") if name in status},
    }
