"""Small questions one asks of a pod's JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

Json = dict[str, Any]


def uid(pod: Json) -> str:
    return pod["metadata"]["uid"]


def full_name(pod: Json) -> str:
    """Namespace and name, for logs and messages."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def path(pod: Json) -> str:
    """Where the API server keeps it."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def phase(pod: Json) -> str:
    return pod.get("status", {}).get("phase", "Pending")


def is_terminal(pod: Json) -> bool:
    """It has run to its end: no container of it will ever start again."""
    return phase(pod) in ("Succeeded", "Failed")


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


def init_containers(pod: Json) -> list[Json]:
    return pod["spec"].get("initContainers") or []


def containers(pod: Json) -> list[Json]:
    return pod["spec"]["containers"]


def ephemeral_containers(pod: Json) -> list[Json]:
    return pod["spec"].get("ephemeralContainers") or []


def all_containers(pod: Json) -> Iterator[Json]:
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def field_path(pod: Json, container: Json) -> str:
    """How an event names the part of the pod it is about."""
    kinds = (
        ("initContainers", init_containers),
        ("ephemeralContainers", ephemeral_containers),
        ("containers", containers),
    )
    kind = next(kind for kind, members in kinds if container["name"] in (member["name"] for member in members(pod)))
    return f"spec.{kind}{{{container['name']}}}"


def is_sidecar(container: Json) -> bool:
    """An init container that stays: it starts in its turn and then runs beside the others."""
    return container.get("restartPolicy") == "Always"


def should_restart(pod: Json, container: Json, exit_code: int) -> bool:
    """What the restart policy says about a container that ended so. An init container that succeeded is done whatever it says."""
    if is_sidecar(container):
        return True
    if exit_code == 0 and any(container["name"] == other["name"] for other in init_containers(pod)):
        return False
    policy = container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def is_host_network(pod: Json) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def container_status(pod: Json, name: str) -> Json:
    """What the API server was last told about one container, {} if nothing."""
    status = pod.get("status", {})
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for known in status.get(kind) or []:
            if known["name"] == name:
                return known
    return {}
