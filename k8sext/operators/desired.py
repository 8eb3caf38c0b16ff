"""What ought to be: from a report and its pods to a status, pods to create and pods to delete. No request is sent here.

The decision looks at what there is, never at what just happened (level-triggered): however many events were lost, doubled or late,
the next look sets everything right. And because it is a function of its arguments, tests can ask it anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from k8sext.kube.events import timestamp
from k8sext.kube.request import Json
from k8sext.operators import pods as collectors
from k8sext.resources import State
from k8sext.weather import UnknownCity, sample

FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
REPORT_PATIENCE = 10.0
"""Seconds after a pod's success in which its report must show up in our copy of the world."""


@dataclass(frozen=True)
class Plan:
    """What is to be done. `status` holds the controller's fields only; `drop_report` takes an outdated report away."""

    status: Json
    create: Json | None = None
    delete: list[Json] = field(default_factory=list)
    drop_report: bool = False
    look_again_in: float | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be done until somebody changes something."""
        return self.status["state"] in (State.READY, State.FAILED)


def plan(report: Json, pods: Sequence[Json], now: float) -> Plan:
    """Decide about a report. `pods` are those it owns, `now` is the time in seconds since 1970."""
    generation = report["metadata"]["generation"]
    drop_report = bool(report.get("status", {}).get("report")) and not _observed(report)
    outdated = [pod for pod in pods if collectors.number(pod, collectors.GENERATION) != generation]
    current = [pod for pod in pods if pod not in outdated]
    decision = _unknown_to_sample(report, current) or _by_pods(report, current, now)
    return Plan(
        decision.status,
        decision.create,
        [pod for pod in (*outdated, *decision.delete) if "deletionTimestamp" not in pod["metadata"]],
        drop_report,
        decision.look_again_in,
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
    *earlier, latest = sorted(current, key=lambda pod: collectors.number(pod, collectors.ATTEMPT))
    decision = _by_phase(report, latest, now)
    return Plan(decision.status, decision.create, [*earlier, *decision.delete], look_again_in=decision.look_again_in)


def _start(report: Json, attempt: int) -> Plan:
    pod = collectors.collector_pod(report, attempt)
    return Plan(_collecting(report, pod), create=pod)


def _by_phase(report: Json, pod: Json, now: float) -> Plan:
    phase = pod.get("status", {}).get("phase", "Pending")
    if phase == "Succeeded":
        return _succeeded(report, pod, now)
    if phase == "Failed":
        return _failed(report, pod, now)
    if reason := collectors.waiting(pod):
        message = f"Pod {pod['metadata']['name']} cannot start: {reason.get('message', reason['reason'])}"
        return Plan(_status(report, State.PENDING, pod["metadata"]["name"], reason["reason"], message))
    return Plan(_collecting(report, pod))


def _succeeded(report: Json, pod: Json, now: float) -> Plan:
    if report.get("status", {}).get("report") and _observed(report):
        days, city = report["spec"]["days"], report["spec"]["city"]
        message = f"The weather of the past {days} day{'s'[: days > 1]} in {city} is collected."
        return Plan(_status(report, State.READY, pod["metadata"]["name"], "Collected", message))
    # Reports and pods reach us by two streams: the report may just be late. If it does not come, somebody took it away.
    left = (collectors.finished_at(pod) or now) + REPORT_PATIENCE - now
    if left > 0:
        return Plan(_collecting(report, pod), look_again_in=left)
    return _again(report, pod)


def _failed(report: Json, pod: Json, now: float) -> Plan:
    name, end = pod["metadata"]["name"], collectors.terminated(pod)
    message = (end.get("message") or pod["status"].get("message") or "no reason is known").strip().splitlines()[-1]
    if end.get("exitCode") == collectors.UNKNOWN_CITY:
        return Plan(_status(report, State.FAILED, name, "UnknownCity", message))
    reason = "ProviderUnreachable" if end.get("exitCode") == collectors.UNREACHABLE else "CollectorFailed"
    left = (collectors.finished_at(pod) or now) + back_off(collectors.number(pod, collectors.ATTEMPT)) - now
    if left > 0:
        return Plan(_status(report, State.PENDING, name, reason, f"{message} It is tried again."), look_again_in=left)
    return _again(report, pod)


def _again(report: Json, pod: Json) -> Plan:
    """The next attempt is made before the last is deleted: its number must not be forgotten, even if we die in between."""
    following = _start(report, collectors.number(pod, collectors.ATTEMPT) + 1)
    return Plan(following.status, following.create, delete=[pod])


def back_off(attempt: int) -> float:
    """Return how long to wait after an attempt that failed: 1, 2, 4 ... seconds, at most five minutes."""
    return min(FIRST_RETRY * 2 ** min(max(attempt - 1, 0), 30), LONGEST_RETRY)


def _collecting(report: Json, pod: Json) -> Json:
    name = pod["metadata"]["name"]
    return _status(report, State.COLLECTING, name, "Collecting", f"Pod {name} collects the weather.")


def _observed(report: Json) -> bool:
    return report.get("status", {}).get("observedGeneration") == report["metadata"]["generation"]


def _status(report: Json, state: State, pod: str, reason: str, message: str) -> Json:
    ready: Literal["True", "False"] = "True" if state is State.READY else "False"
    generation = report["metadata"]["generation"]
    before = next((c for c in report.get("status", {}).get("conditions") or () if c["type"] == "Ready"), {})
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": reason,
        "message": message,
        "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == ready else timestamp(),
        "observedGeneration": generation,
    }
    return {
        "state": str(state),
        "pod": pod,
        "observedGeneration": generation,
        "conditions": [condition],
    }
