"""The status of a pod, computed from what the runtime has: container states, phase, conditions.

Pure functions. Sources: "Pod Lifecycle" in the Kubernetes documentation, and, where it is silent, the kubelet
(`getPhase`, the condition generators of its status manager).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.pod.conditions import OWNED, RESIZE, conditions
from k8sext.infra.kubelet.pod.last_word import last_word
from k8sext.infra.kubelet.runtime.cache import CREATED, EXITED, NANOSECONDS, RUNNING, PodState
from k8sext.infra.kubelet.runtime.translate import given
from k8sext.kube.objects import Json, parts, timestamp
from k8sext.kube.pod import containers, ephemeral_containers, init_containers, is_sidecar

FORGOTTEN = (
    "Unable to get init container status from container runtime and pod has been initialized, "
    "treat it as exited normally"
)


class Health(Protocol):
    """What the probes say about a run of a container."""

    def started(self, run_id: str) -> bool: ...

    def ready(self, run_id: str) -> bool: ...


@dataclass(frozen=True)
class Observation:
    """All that the status of a pod depends on, besides the pod."""

    state: PodState
    health: Health
    runtime_name: str
    node_ip: str
    reasons: dict[str, tuple[str, str]] = field(default_factory=dict)
    """For a container that waits: why, as reason and message."""
    messages: dict[str, str] = field(default_factory=dict)
    """For a run that failed: its termination message."""
    ended: bool = False
    """Everything was stopped and nothing will start again."""


def pod_status(pod: Json, seen: Observation, now: str) -> Json:
    """The status to tell the API server. Fields that others own (conditions of theirs, resize, ...) are not in it."""
    old = pod.get("status", {})
    waiting = "PodInitializing" if init_containers(pod) else "ContainerCreating"
    groups = {
        "initContainerStatuses": [_container_status(pod, c, seen, waiting, True) for c in init_containers(pod)],
        "containerStatuses": [_container_status(pod, c, seen, waiting, False) for c in containers(pod)],
        "ephemeralContainerStatuses": [
            _container_status(pod, c, seen, "ContainerCreating", False) for c in ephemeral_containers(pod)
        ],
    }
    by_name = {status["name"]: status for group in groups.values() for status in group}
    phase = old["phase"] if podspec.is_terminal(pod) else _phase(pod, by_name, seen.ended)
    status: Json = {
        "phase": phase,
        "observedGeneration": pod["metadata"].get("generation", 0),
        **{key: old[key] for key in ("reason", "message") if key in old},
        "startTime": old.get("startTime") or now,
        "hostIP": seen.node_ip,
        "hostIPs": [{"ip": seen.node_ip}],
        "conditions": conditions(pod, by_name, phase, seen.state.why_no_sandbox, now),
    }
    if ip := podspec.pod_ip(pod, seen.state.ip, seen.node_ip) or old.get("podIP"):
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    status |= {name: group for name, group in groups.items() if group}
    return last_word(pod, status) if seen.ended else status


def _container_status(pod: Json, container: Json, seen: Observation, waiting: str, is_init: bool) -> Json:
    old = podspec.container_status(pod, container["name"])
    runs = seen.state.runs(container["name"])
    status: Json = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": old.get("restartCount", 0),
        "lastState": old.get("lastState") or {},
        "state": {"waiting": {"reason": waiting}},
        **_volume_mounts(container),
    }
    if runs:
        status |= _of_run(runs[0], seen) | _resources(given(container, runs[0]))
        if len(runs) > 1 and runs[1].state == EXITED:
            status["lastState"] = _state(runs[1], seen)
    elif "terminated" in (old.get("state") or {}):
        status |= {key: old[key] for key in ("state", "imageID", "containerID", "restartCount", "ready") if key in old}
    elif "running" in (old.get("state") or {}):
        status |= _lost(pod, old)
    elif is_init and any(seen.state.latest(other["name"]) for other in containers(pod)) and not is_sidecar(container):
        status |= {"state": {"terminated": {"reason": "Completed", "message": FORGOTTEN, "exitCode": 0}}, "ready": True}
    will_start = not podspec.is_deleted(pod) and (
        not runs or runs[0].state != EXITED or podspec.should_restart(pod, container, runs[0].exit_code)
    )
    if container["name"] in seen.reasons and will_start and "running" not in status["state"]:
        reason, message = seen.reasons[container["name"]]
        if "terminated" in status["state"]:
            status["lastState"] = status["state"]
        status["state"] = {"waiting": {"reason": reason, "message": message}}
    return status | _readiness(status, runs[0].id if runs else "", seen.health, is_init and not is_sidecar(container))


def _of_run(run: cri.ContainerStatus, seen: Observation) -> Json:
    return {
        "imageID": run.image_ref,
        "image": run.image.user_specified_image or run.image.image,
        "containerID": f"{seen.runtime_name}://{run.id}",
        "restartCount": run.metadata.attempt,
        "state": _state(run, seen),
        **_user(run),
    }


def _user(run: cri.ContainerStatus) -> Json:
    """Who its first process ran as when it began (KEP-3619), if the runtime says so."""
    if not run.user.HasField("linux"):
        return {}
    linux = run.user.linux
    groups = {"supplementalGroups": list(linux.supplemental_groups)} if linux.supplemental_groups else {}
    return {"user": {"linux": {"uid": linux.uid, "gid": linux.gid, **groups}}}


def _volume_mounts(container: Json) -> Json:
    """Its mounts, and whether those that are read-only are so in all mounts below, too (KEP-3857): never here."""
    mounts = [
        {"name": mount["name"], "mountPath": mount["mountPath"]}
        | ({"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else {})
        for mount in parts(container, "volumeMounts")
    ]
    return {"volumeMounts": mounts} if mounts else {}


def _resources(resources: Json) -> Json:
    """What the container was given."""
    allocated = {"allocatedResources": resources["requests"]} if resources.get("requests") else {}
    return {"resources": resources, **allocated}


def _state(run: cri.ContainerStatus, seen: Observation) -> Json:
    if run.state == RUNNING:
        return {"running": {"startedAt": timestamp(run.started_at / NANOSECONDS)}}
    if run.state == CREATED:
        return {"waiting": {"reason": "ContainerCreating"}}
    terminated = {
        "exitCode": run.exit_code,
        "reason": run.reason or ("Completed" if run.exit_code == 0 else "Error"),
        "startedAt": timestamp(run.started_at / NANOSECONDS) if run.started_at else None,
        "finishedAt": timestamp(run.finished_at / NANOSECONDS),
        "containerID": f"{seen.runtime_name}://{run.id}",
    }
    message = run.message or seen.messages.get(run.id, "")
    return {
        "terminated": {
            key: value for key, value in (terminated | {"message": message}).items() if value not in (None, "")
        }
    }


def _lost(pod: Json, old: Json) -> Json:
    """It ran once, and the runtime knows nothing of it any more."""
    if old.get("lastState"):
        return {}
    message = "The container could not be located when the pod was deleted.  The container used to be Running"
    lost = {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137, "message": message}}
    return {"lastState": lost, "restartCount": old.get("restartCount", 0) + (not podspec.is_deleted(pod))}


def _readiness(status: Json, run_id: str, health: Health, is_plain_init: bool) -> Json:
    state = status["state"]
    if is_plain_init:
        return {"ready": state.get("terminated", {}).get("exitCode") == 0, "started": "running" in state}
    running = "running" in state
    return {"started": running and health.started(run_id), "ready": running and health.ready(run_id)}


def _phase(pod: Json, statuses: dict[str, Json], ended: bool) -> str:
    """Pending, Running, Succeeded or Failed."""
    inits = [(c, statuses[c["name"]]) for c in init_containers(pod) if not is_sidecar(c)]
    sidecars = [statuses[c["name"]] for c in init_containers(pod) if is_sidecar(c)]
    mains = [(c, statuses[c["name"]]) for c in containers(pod)]
    if any((code := _exit_code(s)) and not podspec.should_restart(pod, c, code) for c, s in inits):
        return "Failed"
    has_run = any(_exit_code(s) is not None or "running" in s["state"] for _, s in mains)
    if any(_exit_code(s) is None for _, s in inits) or (not has_run and any(not s["started"] for s in sidecars)):
        return "Pending"
    if any("waiting" in s["state"] and _exit_code(s) is None for _, s in mains):
        return "Pending"
    if any("running" in s["state"] for s in [*sidecars, *(s for _, s in mains)]):
        return "Running"
    codes = [(c, _exit_code(s) or 0) for c, s in mains]
    if not ended and any(podspec.should_restart(pod, c, code) for c, code in codes):
        return "Running"
    return "Failed" if any(code for _, code in codes) else "Succeeded"


def _exit_code(status: Json) -> int | None:
    """How the container ended, now or, if it waits to be started again, last time; None if it has not ended yet."""
    state = status["state"]
    if "waiting" in state:
        state = status.get("lastState") or {}
    return state["terminated"]["exitCode"] if "terminated" in state else None


def merge(status: Json, told: Json) -> Json:
    """What the API server shows once it has been told."""
    others = [condition for condition in status.get("conditions") or [] if condition["type"] not in (*OWNED, RESIZE)]
    return status | told | {"conditions": [*others, *told["conditions"]]}


def newest(pod: Json, before: Json) -> Json:
    """The status the server shows, except for what this kubelet owns, of which it knows better itself."""
    shown, own = pod.get("status", {}), before.get("status", {})
    if "startTime" not in own:
        return shown
    owned = [condition for condition in own.get("conditions") or [] if condition["type"] in OWNED]
    merged = merge(shown, own | {"conditions": owned})
    return merged | ({"phase": shown["phase"]} if podspec.is_terminal(pod) else {})
