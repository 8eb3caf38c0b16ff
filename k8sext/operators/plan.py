"""What should be, what is, and the difference: a status, pods to create and pods to delete.

The decision looks at what there is, never at what just happened (level-triggered): however many events were lost,
doubled or late, the next look sets everything right. No request is sent here, and no clock is read but for the time of
a condition: a decision is a function of its arguments, so tests can ask it anything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from k8sext import __version__
from k8sext.kube.objects import Json, condition, condition_of, owner_reference
from k8sext.resources import API_VERSION, KIND, State
from k8sext.weather import UnknownCity, sample

MANAGED_BY = {"app.kubernetes.io/managed-by": "k8s-operator-example"}
SELECTOR = "app.kubernetes.io/managed-by=k8s-operator-example"
SERVICE_ACCOUNT = "weather-collector"
GENERATION, ATTEMPT = "k8s.packt.com/generation", "k8s.packt.com/attempt"

UNKNOWN_CITY, UNREACHABLE = 3, 4
"""With these exit codes the collector says why it failed; its last line says it in words."""

LONGEST_NAME = 253
TIME_LIMIT = 300
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
REPORT_PATIENCE = 10.0
"""Seconds after a pod's success in which its report must show up in our copy of the world."""


# What should be.


def image() -> str:
    """Return the image of the collector: the workbook's own, unless $K8SEXT_IMAGE names another."""
    return os.environ.get("K8SEXT_IMAGE") or f"localhost/k8sext:{__version__}"


def pod_name(report: Json, attempt: int) -> str:
    """Return the name of the pod of an attempt. It is the same whoever asks, so there are never two at once."""
    metadata = report["metadata"]
    ending = f"-{metadata['generation']}" + (f"-{attempt}" if attempt > 1 else "")
    name = metadata["name"]
    if len(name) + len(ending) > LONGEST_NAME:
        ending = f"-{hashlib.sha256(name.encode()).hexdigest()[:10]}{ending}"
        name = name[: LONGEST_NAME - len(ending)].rstrip("-.")
    return name + ending


def collector_pod(report: Json, attempt: int = 1) -> Json:
    """Return the pod that collects this generation of a report, ready to be created."""
    metadata = report["metadata"]
    environment = {
        "REPORT": metadata["name"],
        "GENERATION": str(metadata["generation"]),
        "NAMESPACE": metadata["namespace"],
    }
    collect = {
        "name": "collect",
        "image": image(),
        "command": ["python", "-m", "k8sext.operators.collect"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(report, attempt),
            "namespace": metadata["namespace"],
            "labels": MANAGED_BY,
            "annotations": {GENERATION: str(metadata["generation"]), ATTEMPT: str(attempt)},
            "ownerReferences": [owner_reference({"apiVersion": API_VERSION, "kind": KIND} | report, controller=True)],
        },
        "spec": {
            "serviceAccountName": SERVICE_ACCOUNT,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": TIME_LIMIT,
            "terminationGracePeriodSeconds": 2,
            "containers": [collect],
        },
    }


def back_off(attempt: int) -> float:
    """Return how long to wait after an attempt that failed: 1, 2, 4 ... seconds, at most five minutes."""
    return min(FIRST_RETRY * 2 ** min(max(attempt - 1, 0), 30), LONGEST_RETRY)


# What is.


def number(pod: Json, annotation: str) -> int:
    """Return the generation or the attempt a pod was made for; 0 if somebody else made it or spoilt it."""
    annotations: dict[str, str] = pod["metadata"].get("annotations") or {}
    text = annotations.get(annotation, "")
    return int(text) if text.isdecimal() else 0


def container_state(pod: Json, state: str) -> Json:
    """Return what is known of the collector's container if it is "waiting" or "terminated"; empty in another state."""
    containers: Sequence[Json] = pod.get("status", {}).get("containerStatuses") or ()
    for container in containers:
        if found := container.get("state", {}).get(state):
            return found
    return {}


def finished_at(pod: Json) -> float | None:
    """Return when the collector ended, in seconds since 1970; None if that is not known."""
    text = container_state(pod, "terminated").get("finishedAt")
    return datetime.fromisoformat(text).timestamp() if text else None


def _observed(report: Json) -> bool:
    return report.get("status", {}).get("observedGeneration") == report["metadata"]["generation"]


# The difference.


@dataclass(frozen=True)
class Plan:
    """What is to be done. `status` holds the controller's fields only; `drop_report` takes an outdated report away.

    `requeue_after` seconds it is to be looked at again, though nothing changes.
    """

    status: Json
    create: Json | None = None
    delete: list[Json] = field(default_factory=list[Json])
    drop_report: bool = False
    requeue_after: float | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be done until somebody changes something."""
        return self.status["state"] in (State.READY, State.FAILED)


def plan(report: Json, pods: Sequence[Json], now: float) -> Plan:
    """Decide about a report. `pods` are those it owns, `now` is the time in seconds since 1970."""
    generation = report["metadata"]["generation"]
    drop_report = bool(report.get("status", {}).get("report")) and not _observed(report)
    outdated = [pod for pod in pods if number(pod, GENERATION) != generation]
    current = [pod for pod in pods if pod not in outdated]
    decision = _unknown_to_sample(report, current) or _by_pods(report, current, now)
    return Plan(
        decision.status,
        decision.create,
        [pod for pod in (*outdated, *decision.delete) if "deletionTimestamp" not in pod["metadata"]],
        drop_report,
        decision.requeue_after,
    )


def _unknown_to_sample(report: Json, current: list[Json]) -> Plan | None:
    """The sample data is at hand, so no pod is needed to find that a city is not in it."""
    city = report["spec"]["city"]
    if report["spec"].get("provider", "sample") != "sample" or sample.find(city):
        return None
    message = str(UnknownCity(city, sample.near_matches(city)))
    return Plan(_status(report, State.FAILED, "", "UnknownCity", message), delete=current)


def _by_pods(report: Json, current: list[Json], now: float) -> Plan:
    if any("deletionTimestamp" in pod["metadata"] for pod in current):
        name = current[-1]["metadata"]["name"]
        return Plan(_status(report, State.PENDING, name, "PodDeleted", f"Waiting until pod {name} is gone."))
    if not current:
        return _start(report, attempt=1)
    *earlier, latest = sorted(current, key=lambda pod: number(pod, ATTEMPT))
    decision = _by_phase(report, latest, now)
    return Plan(decision.status, decision.create, [*earlier, *decision.delete], requeue_after=decision.requeue_after)


def _start(report: Json, attempt: int) -> Plan:
    pod = collector_pod(report, attempt)
    return Plan(_collecting(report, pod), create=pod)


def _by_phase(report: Json, pod: Json, now: float) -> Plan:
    phase = pod.get("status", {}).get("phase", "Pending")
    if phase == "Succeeded":
        return _succeeded(report, pod, now)
    if phase == "Failed":
        return _failed(report, pod, now)
    why = container_state(pod, "waiting")
    if why.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        message = f"Pod {pod['metadata']['name']} cannot start: {why.get('message', why['reason'])}"
        return Plan(_status(report, State.PENDING, pod["metadata"]["name"], why["reason"], message))
    return Plan(_collecting(report, pod))


def _succeeded(report: Json, pod: Json, now: float) -> Plan:
    if report.get("status", {}).get("report") and _observed(report):
        days, city = report["spec"]["days"], report["spec"]["city"]
        message = f"The weather of the past {days} day{'s'[: days > 1]} in {city} is collected."
        return Plan(_status(report, State.READY, pod["metadata"]["name"], "Collected", message))
    # Reports and pods reach us by two streams: the report may just be late. If it does not come, somebody took it away.
    left = (finished_at(pod) or now) + REPORT_PATIENCE - now
    if left > 0:
        return Plan(_collecting(report, pod), requeue_after=left)
    return _again(report, pod)


def _failed(report: Json, pod: Json, now: float) -> Plan:
    name, end = pod["metadata"]["name"], container_state(pod, "terminated")
    message = (end.get("message") or pod["status"].get("message") or "no reason is known").strip().splitlines()[-1]
    if end.get("exitCode") == UNKNOWN_CITY:
        return Plan(_status(report, State.FAILED, name, "UnknownCity", message))
    reason = "ProviderUnreachable" if end.get("exitCode") == UNREACHABLE else "CollectorFailed"
    left = (finished_at(pod) or now) + back_off(number(pod, ATTEMPT)) - now
    if left > 0:
        return Plan(_status(report, State.PENDING, name, reason, f"{message} It is tried again."), requeue_after=left)
    return _again(report, pod)


def _again(report: Json, pod: Json) -> Plan:
    """Make the next attempt before the last is deleted: its number must not be forgotten, even if we die in between."""
    following = _start(report, number(pod, ATTEMPT) + 1)
    return Plan(following.status, following.create, delete=[pod])


def _collecting(report: Json, pod: Json) -> Json:
    name = pod["metadata"]["name"]
    return _status(report, State.COLLECTING, name, "Collecting", f"Pod {name} collects the weather.")


def _status(report: Json, state: State, pod: str, reason: str, message: str) -> Json:
    generation = report["metadata"]["generation"]
    ready = condition(
        "Ready",
        state is State.READY,
        condition_of(report, "Ready"),
        reason=reason,
        message=message,
        observedGeneration=generation,
    )
    return {"state": str(state), "pod": pod, "observedGeneration": generation, "conditions": [ready]}
