"""The last status of a pod: nothing in it waits or runs, as nothing of the pod will run again.

Source: TerminatePod in pkg/kubelet/status/status_manager.go. The conditions stay as they were found before.
"""

from __future__ import annotations

from k8sext.infra.kubelet.pod.conditions import has_started
from k8sext.kube.objects import Json, condition_of, parts

UNKNOWN: Json = {
    "terminated": {
        "reason": "ContainerStatusUnknown",
        "exitCode": 137,
        "message": "The container could not be located when the pod was terminated",
    }
}


def last_word(status: Json) -> Json:
    """The status of a pod that has ended. A container without an end of its own counts as failed; only what the pod
    never came to keeps waiting."""
    inits = parts(status, "initContainerStatuses")
    reached = max((number for number, one in enumerate(inits, 1) if has_started(one)), default=1)
    result = status | {"phase": status["phase"] if status["phase"] in ("Succeeded", "Failed") else "Failed"}
    if inits:
        result["initContainerStatuses"] = [*map(_ended, inits[:reached]), *inits[reached:]]
    if _initialised(status):
        result["containerStatuses"] = [_ended(one) for one in parts(status, "containerStatuses")]
    return result


def _ended(container: Json) -> Json:
    return container if "terminated" in container["state"] else container | {"state": UNKNOWN}


def _initialised(status: Json) -> bool:
    """Whether the containers proper had their turn."""
    return condition_of({"status": status}, "Initialized").get("status") == "True"
