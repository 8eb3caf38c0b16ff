"""What a scheduler tells Prometheus about itself, under kube-scheduler's names.

Source: page "Kubernetes Metrics Reference".
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from k8sext.scheduling.queue import SchedulingQueue, State

BUCKETS = tuple(0.001 * 2**power for power in range(15))
QUEUES = {
    "active": State.ACTIVE,
    "backoff": State.BACKOFF,
    "unschedulable": State.UNSCHEDULABLE,
    "gated": State.GATED,
}


class Metrics:
    """The metrics of one scheduler, in a registry of its own."""

    def __init__(self, profile: str, queue: SchedulingQueue) -> None:
        self.registry = CollectorRegistry()
        self._profile = profile
        attempts = ("scheduler_schedule_attempts", "Attempts by result", ("profile", "result"))
        self._attempts = Counter(*attempts, registry=self.registry)
        for result in ("scheduled", "unschedulable", "error"):
            self._attempts.labels(profile, result)
        algorithm = ("scheduler_scheduling_algorithm_duration_seconds", "Time to find a node")
        self.algorithm = Histogram(*algorithm, buckets=BUCKETS, registry=self.registry)
        latency = ("scheduler_pod_scheduling_sli_duration_seconds", "Time from the first sight of a pod to its binding")
        self.latency = Histogram(*latency, buckets=BUCKETS, registry=self.registry)
        pending = Gauge("scheduler_pending_pods", "Pods that wait", ("queue",), registry=self.registry)
        for name, state in QUEUES.items():
            pending.labels(name).set_function(lambda state=state: queue.count(state))

    def attempted(self, result: str) -> None:
        """Count an attempt: scheduled, unschedulable or error."""
        self._attempts.labels(self._profile, result).inc()

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)
