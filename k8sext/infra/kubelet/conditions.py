"""The conditions of a pod: how far it has come.

Source: "Pod conditions" in the Kubernetes documentation. Each changes its lastTransitionTime only when its status changes.
"""

from __future__ import annotations

from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.pod import Json

OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")

Finding = tuple[bool, str, str]
"""Whether it is so, and if not, reason and message."""


def conditions(pod: Json, statuses: dict[str, Json], phase: str, has_sandbox: bool, now: str) -> list[Json]:
    """The conditions that a kubelet owns, given the status of each container by name."""
    containers_ready = _containers_ready(pod, statuses, phase)
    findings: dict[str, Finding] = {
        "PodReadyToStartContainers": (has_sandbox, "", ""),
        "Initialized": _initialized(pod, statuses, phase),
        "Ready": _ready(pod, containers_ready),
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    old = {condition["type"]: condition for condition in pod.get("status", {}).get("conditions") or []}
    return [_condition(kind, findings[kind], old.get(kind, {}), pod, now) for kind in OWNED]


def _condition(kind: str, finding: Finding, old: Json, pod: Json, now: str) -> Json:
    status = "True" if finding[0] else "False"
    condition = {
        "type": kind,
        "status": status,
        "observedGeneration": pod["metadata"].get("generation", 0),
        "lastProbeTime": None,
        "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == status else now,
    }
    # null takes away what a merge patch would leave standing
    texts = {"reason": finding[1] or None, "message": finding[2] or None}
    return condition | {key: text for key, text in texts.items() if text or key in old}


def _initialized(pod: Json, statuses: dict[str, Json], phase: str) -> Finding:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if any(_has_started(statuses[container["name"]]) for container in pods.containers(pod)):
        return True, "", ""
    incomplete = [
        container["name"]
        for container in pods.init_containers(pod)
        if not statuses[container["name"]]["started" if pods.is_sidecar(container) else "ready"]
    ]
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: {_names(incomplete)}"
    return True, "", ""


def _containers_ready(pod: Json, statuses: dict[str, Json], phase: str) -> Finding:
    if phase in ("Succeeded", "Failed"):
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    sidecars = [container for container in pods.init_containers(pod) if pods.is_sidecar(container)]
    unready = [c["name"] for c in [*sidecars, *pods.containers(pod)] if not statuses[c["name"]]["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: {_names(unready)}"
    return True, "", ""


def _ready(pod: Json, containers_ready: Finding) -> Finding:
    if not containers_ready[0]:
        return containers_ready
    known = {condition["type"]: condition["status"] for condition in pod.get("status", {}).get("conditions") or []}
    complaints = []
    for gate in pod["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        if kind not in known:
            complaints.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif known[kind] != "True":
            complaints.append(f'the status of pod readiness gate "{kind}" is not "True", but {known[kind]}')
    return not complaints, "ReadinessGatesNotReady" if complaints else "", ", ".join(complaints)


def _has_started(status: Json) -> bool:
    return "waiting" not in status["state"] or "terminated" in (status.get("lastState") or {})


def _names(names: list[str]) -> str:
    return f"[{' '.join(names)}]"
