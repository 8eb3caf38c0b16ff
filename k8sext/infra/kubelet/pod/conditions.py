"""The conditions of a pod: how far it has come.

Source: "Pod conditions" in the Kubernetes documentation. Each changes its lastTransitionTime only when its status
changes.
"""

from __future__ import annotations

from k8sext.kube.objects import Json, condition, condition_of, part
from k8sext.kube.pod import containers, init_containers, is_sidecar, lasting_containers

OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
RESIZE = "PodResizePending"
"""Only there while a running container has other resources than its pod asks for. Source: KEP-1287."""

Finding = tuple[bool, str, str]
"""Whether it is so, and if not, reason and message."""


def conditions(pod: Json, statuses: dict[str, Json], phase: str, why_no_sandbox: str, now: str) -> list[Json]:
    """The conditions that a kubelet owns, given the status of each container by name, and why containers cannot start
    ("" if they can)."""
    containers_ready = _containers_ready(pod, statuses, phase)
    findings: dict[str, Finding] = {
        "PodReadyToStartContainers": (
            not why_no_sandbox,
            "PodSandboxNotReady" if why_no_sandbox else "",
            why_no_sandbox,
        ),
        "Initialized": _initialized(pod, statuses, phase),
        "Ready": _ready(pod, containers_ready),
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    if waiting := _not_resized(pod, statuses):
        message = f"containers that get their new resources when they are started again: {_names(waiting)}"
        findings[RESIZE] = (True, "Deferred", message)
    return [_condition(kind, finding, condition_of(pod, kind), pod, now) for kind, finding in findings.items()]


def _condition(kind: str, finding: Finding, old: Json, pod: Json, now: str) -> Json:
    # null takes away what a merge patch would leave standing
    texts = {"reason": finding[1] or None, "message": finding[2] or None}
    fields = {"observedGeneration": pod["metadata"].get("generation", 0), "lastProbeTime": None}
    fields |= {key: text for key, text in texts.items() if text or key in old}
    return condition(kind, finding[0], old, now=now, **fields)


def _initialized(pod: Json, statuses: dict[str, Json], phase: str) -> Finding:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    before = condition_of(pod, "Initialized").get("status") == "True"  # once it is so it stays so
    if before or any(has_started(statuses[container["name"]]) for container in containers(pod)):
        return True, "", ""
    incomplete = [
        container["name"]
        for container in init_containers(pod)
        if not statuses[container["name"]]["started" if is_sidecar(container) else "ready"]
    ]
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: {_names(incomplete)}"
    return True, "", ""


def _containers_ready(pod: Json, statuses: dict[str, Json], phase: str) -> Finding:
    if phase in ("Succeeded", "Failed"):
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    sidecars = [container for container in init_containers(pod) if is_sidecar(container)]
    unready = [c["name"] for c in [*sidecars, *containers(pod)] if not statuses[c["name"]]["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: {_names(unready)}"
    return True, "", ""


def _ready(pod: Json, containers_ready: Finding) -> Finding:
    if not containers_ready[0]:
        return containers_ready
    complaints: list[str] = []
    for gate in pod["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        if not (known := condition_of(pod, kind)):
            complaints.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif known["status"] != "True":
            complaints.append(f'the status of pod readiness gate "{kind}" is not "True", but {known["status"]}')
    return not complaints, "ReadinessGatesNotReady" if complaints else "", ", ".join(complaints)


def _not_resized(pod: Json, statuses: dict[str, Json]) -> list[str]:
    """Containers that run with other resources than their pod asks for by now."""
    running = [c for c in lasting_containers(pod) if "running" in statuses[c["name"]]["state"]]
    return [c["name"] for c in running if part(c, "resources") != statuses[c["name"]]["resources"]]


def has_started(status: Json) -> bool:
    """Whether a container has begun once, by its status."""
    return "waiting" not in status["state"] or "terminated" in (status.get("lastState") or {})


def _names(names: list[str]) -> str:
    return f"[{' '.join(names)}]"
