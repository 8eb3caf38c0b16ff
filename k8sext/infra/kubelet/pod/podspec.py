"""Small questions one asks of a pod's JSON, besides those of kube.pod."""

from __future__ import annotations

import math
from datetime import datetime

from k8sext.kube.objects import Json, part, parts
from k8sext.kube.pod import containers, ephemeral_containers, init_containers, is_sidecar
from k8sext.kube.resource import PODS

TERMINAL = ("Succeeded", "Failed")


def uid(pod: Json) -> str:
    return pod["metadata"]["uid"]


def path(pod: Json, subresource: str = "") -> str:
    """Where the API server keeps it."""
    return PODS.path(pod["metadata"]["name"], pod["metadata"]["namespace"], subresource)


def phase(pod: Json) -> str:
    return pod.get("status", {}).get("phase", "Pending")


def is_terminal(pod: Json) -> bool:
    """It has run to its end: no container of it will ever start again."""
    return phase(pod) in TERMINAL


def failed(pod: Json, reason: str, message: str) -> Json:
    """The same pod, with a status that says so."""
    return pod | {"status": pod.get("status", {}) | {"phase": "Failed", "reason": reason, "message": message}}


def seconds_left(pod: Json, now: float) -> float:
    """Until the pod's activeDeadlineSeconds are over; infinite if it has none, has not begun, or is ending anyway."""
    limit, start = pod["spec"].get("activeDeadlineSeconds"), pod.get("status", {}).get("startTime")
    if limit is None or not start or is_terminal(pod) or is_deleted(pod):
        return math.inf
    return datetime.fromisoformat(start).timestamp() + limit - now


def is_deleted(pod: Json) -> bool:
    """Somebody asked for its deletion; it may take its grace period to go."""
    return "deletionTimestamp" in pod["metadata"]


def grace_period(pod: Json) -> int:
    """Seconds between SIGTERM and SIGKILL."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    return asked if asked is not None else pod["spec"].get("terminationGracePeriodSeconds", 30)


def volume_kind(volume: Json) -> str:
    """The field that says where it comes from: emptyDir, configMap ..."""
    return next(key for key in volume if key != "name")


def mount_path(mount: Json) -> str:
    """Where a volume is mounted; a relative path is one from the root."""
    return "/" + mount["mountPath"].lstrip("/")


def has_mount_at(container: Json, path: str) -> bool:
    """Does a volume stand there, so that nothing of the kubelet's own may?"""
    return path in map(mount_path, parts(container, "volumeMounts"))


def field_path(pod: Json, container: Json) -> str:
    """How an event names the part of the pod it is about."""
    kinds = (
        ("initContainers", init_containers),
        ("ephemeralContainers", ephemeral_containers),
        ("containers", containers),
    )
    kind = next(kind for kind, members in kinds if container["name"] in (member["name"] for member in members(pod)))
    return f"spec.{kind}{{{container['name']}}}"


def should_restart(pod: Json, container: Json, exit_code: int) -> bool:
    """What the restart policy says about a container that ended so. An init container that succeeded is done
    whatever it says."""
    if is_sidecar(container):
        return True
    if exit_code == 0 and any(container["name"] == other["name"] for other in init_containers(pod)):
        return False
    if any(_matches(rule, exit_code) for rule in parts(container, "restartPolicyRules")):
        return True
    policy = restart_policy(pod, container)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def restart_policy(pod: Json, container: Json) -> str:
    """The container's own, or else the pod's."""
    return container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")


def _matches(rule: Json, exit_code: int) -> bool:
    """Whether a rule that starts a container again speaks of this exit code. Source: KEP-5307."""
    codes = part(rule, "exitCodes")
    return rule["action"] == "Restart" and (exit_code in codes.get("values", ())) == (codes.get("operator") == "In")


def is_host_network(pod: Json) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def pod_ip(pod: Json, own: str, node_ip: str) -> str:
    """The pod's address: its own (that of its sandbox), or, on its node's network, the node's."""
    return node_ip if is_host_network(pod) else own


def container_status(pod: Json, name: str) -> Json:
    """What the API server was last told about one container, {} if nothing."""
    status = pod.get("status", {})
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for known in status.get(kind) or []:
            if known["name"] == name:
                return known
    return {}
