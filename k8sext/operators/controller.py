"""The weather controller by hand, in the shape of Kubernetes' sample-controller: informers observe, a queue of keys analyses, workers act.

Observe: two informers keep copies of all reports and of the pods that belong to them. Whatever happens to either, the key of the report
goes into the queue. Analyse: a worker takes a key and looks at the report and its pods as they are now. Act: `reconcile`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from k8sext.kube.informer import Change, Informer, running, without_managed_fields
from k8sext.kube.metrics import ControllerMetrics
from k8sext.kube.queue import ShutDown, WorkQueue
from k8sext.kube.request import ApiError, Json, Unreachable
from k8sext.kube.store import controller_of, key_of
from k8sext.operators.desired import Plan
from k8sext.operators.pods import SELECTOR, owner_uid, slim
from k8sext.operators.reconcile import Recorder, pods_path, reconcile, reports_path
from k8sext.resources import KIND

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which we stop waiting for our own pod to show up, and decide by what we see."""


class Controller:
    """Looks after the WeatherReports of one namespace, or of all if it is empty. `await run()`, and `stop()` to end it."""

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
        self.reports = Informer(client, reports_path(namespace), transform=without_managed_fields)
        self.pods = Informer(
            client,
            pods_path(namespace),
            query={"labelSelector": SELECTOR},
            indexes={"owner": owner_uid},
            transform=slim,
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
        """Fill the copies, then let the workers work until `stop` is called; what is in the queue then is still done."""
        self.metrics.workers.set(workers)
        async with running(self.reports, self.pods):
            log.info("watching %d reports and %d pods", len(self.reports.store), len(self.pods.store))
            async with asyncio.TaskGroup() as group:
                for number in range(workers):
                    group.create_task(self._work(), name=f"worker {number}")

    def stop(self) -> None:
        """Let `run` end when everything in the queue is done."""
        self.queue.shut_down()

    async def _work(self) -> None:
        """One worker: key after key, until the queue is shut down."""
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self._process(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: str) -> None:
        """Look at one key. Whatever goes wrong with it concerns this key only, which comes again later."""
        try:
            with self.metrics.reconcile() as result:
                decision = await self.sync(key)
                if decision and decision.look_again_in is not None:
                    result("requeue_after")
                    self.queue.add_after(key, decision.look_again_in)
        except ApiError as error:
            level = logging.DEBUG if error.code in (404, 409) else logging.WARNING  # the next look sees a newer picture
            log.log(level, "%s is tried again: %s", key, error)
            self.queue.add_rate_limited(key)
        except Unreachable as error:
            log.warning("%s is tried again: %s", key, error)
            self.queue.add_rate_limited(key)
        except Exception:
            log.exception("%s is tried again", key)
            self.queue.add_rate_limited(key)
        else:
            if decision is None or decision.settled:
                self.queue.forget(key)

    async def sync(self, key: str) -> Plan | None:
        """Compare what is with what ought to be, and act. Returns what was decided, None if the report is gone."""
        report = self.reports.store.get(key)
        if report is None or "deletionTimestamp" in report["metadata"]:
            self._created.pop(key, None)
            return None  # gone or going: the garbage collector takes the pods
        if self._is_behind(key):
            self.queue.add_after(key, PATIENCE)
            return None
        pods = self.pods.store.by_index("owner", report["metadata"]["uid"])
        decision = await reconcile(self._client, report, pods, self._recorder)
        if decision.create:
            self._created[key] = (key_of(decision.create), time.monotonic())
        return decision

    def _is_behind(self, key: str) -> bool:
        """Whether a pod we made has not shown up in our copy yet. To decide without it would mean to make it again, and be refused."""
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
