"""The last status of a pod: nothing in it waits or runs, as nothing of the pod will run again.

Source: TerminatePod in pkg/kubelet/status/status_manager.go. The conditions stay as they were found before.
"""

from __future__ import annotations

from k8sext.infra.kubelet.pod.conditions import has_started
from k8sext.kube.objects import Json, part, parts
from k8sext.kube.pod import init_containers, is_sidecar

UNKNOWN: Json = {
    "terminated": {
        "reason": "ContainerStatusUnknown",
        "exitCode": 137,
        "message": "The container could not be located when the pod was terminated",
    }
}


def last_word(pod: Json, status: Json) -> Json:
    """The status of a pod that has ended, from what its containers are now, and what the pod said of them before.

    A container without an end of its own counts as failed; only what the pod never came to keeps waiting.
    """
    inits = parts(status, "initContainerStatuses")
    reached = max((number for number, one in enumerate(inits, 1) if has_started(one)), default=1)
    result = status | {"phase": status["phase"] if status["phase"] in ("Succeeded", "Failed") else "Failed"}
    if inits:
        result["initContainerStatuses"] = [*map(_ended, inits[:reached]), *inits[reached:]]
    if _initialised(pod, pod.get("status", {})) or _initialised(pod, status):
        result["containerStatuses"] = [_ended(one) for one in parts(status, "containerStatuses")]
    return result


def _ended(container: Json) -> Json:
    return container if "terminated" in container["state"] else container | {"state": UNKNOWN}


def _initialised(pod: Json, status: Json) -> bool:
    """Whether the containers proper had their turn, by a status: one of them has begun, or the last init container is
    done (a sidecar: has started and runs). A sidecar that has ended since takes the turn back."""
    inits = init_containers(pod)
    if not inits or any(map(has_started, parts(status, "containerStatuses"))):
        return True
    last = next((one for one in parts(status, "initContainerStatuses") if one["name"] == inits[-1]["name"]), {})
    states = part(last, "state"), part(last, "lastState")
    if is_sidecar(inits[-1]):
        return "running" in states[0] and bool(last.get("started"))
    return any("terminated" in each and each["terminated"]["exitCode"] == 0 for each in states)
