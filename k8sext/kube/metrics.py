"""What a controller tells Prometheus about itself, under the names that controller-runtime gives these figures.

So the dashboards and alerts that people have for their Go operators work for ours
(https://book.kubebuilder.io/reference/metrics-reference).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE_BUCKETS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10)
RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ControllerMetrics:
    """The figures of one controller, in a registry of its own. It is also the observer of that controller's work
    queue."""

    def __init__(self, controller: str) -> None:
        self.registry = CollectorRegistry()
        self._controller = controller
        names = {"name": controller, "controller": controller}
        self._reconciles = self._counter("controller_runtime_reconcile", "Reconciles by result", "controller", "result")
        for result in ("success", "error", "requeue_after"):
            self._reconciles.labels(controller, result)
        self._errors = self._counter("controller_runtime_reconcile_errors", "Failed reconciles", "controller")
        self._errors = self._errors.labels(controller)
        self._time = self._histogram(
            "controller_runtime_reconcile_time_seconds", "Time a reconcile takes", RECONCILE_BUCKETS, "controller"
        ).labels(controller)
        self.workers = self._gauge("controller_runtime_max_concurrent_reconciles", "Workers", "controller").labels(
            controller
        )
        self._active = self._gauge("controller_runtime_active_workers", "Workers at work", "controller").labels(
            controller
        )
        self._depth = self._gauge("workqueue_depth", "Keys that wait", *names).labels(**names)
        self._adds = self._counter("workqueue_adds", "Keys added", *names).labels(**names)
        self._retries = self._counter("workqueue_retries", "Keys put back", *names).labels(**names)
        self._waited = self._histogram("workqueue_queue_duration_seconds", "Time a key waits", QUEUE_BUCKETS, *names)
        self._waited = self._waited.labels(**names)
        self._worked = self._histogram(
            "workqueue_work_duration_seconds", "Time a key is worked on", QUEUE_BUCKETS, *names
        )
        self._worked = self._worked.labels(**names)
        self._leader = self._gauge("leader_election_master_status", "1 while this one leads", "name")

    @contextmanager
    def reconcile(self) -> Generator[Callable[[str], None], None, None]:
        """Time one reconcile. The block may name its result (default "success"); an exception counts as "error"."""
        result = "success"

        def set_result(name: str) -> None:
            nonlocal result
            result = name

        began = time.perf_counter()
        self._active.inc()
        try:
            yield set_result
        except Exception:
            result = "error"
            self._errors.inc()
            raise
        finally:
            self._active.dec()
            self._time.observe(time.perf_counter() - began)
            self._reconciles.labels(self._controller, result).inc()

    def leads(self, election: str, yes: bool) -> None:
        """Say whether this process leads in an election."""
        self._leader.labels(election).set(yes)

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self.registry)

    def added(self, depth: int) -> None:
        """A key was added to the queue."""
        self._adds.inc()
        self._depth.set(depth)

    def started(self, depth: int, waited: float) -> None:
        """A worker took a key."""
        self._depth.set(depth)
        self._waited.observe(waited)

    def finished(self, worked: float) -> None:
        """A worker is done with a key."""
        self._worked.observe(worked)

    def retried(self) -> None:
        """A key was put back."""
        self._retries.inc()

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, what, labels, buckets=buckets, registry=self.registry)
