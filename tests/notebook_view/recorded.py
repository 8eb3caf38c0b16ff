"""Objects as the API server sends them, as much of each as the view reads."""

from __future__ import annotations

from typing import Any

from k8sext.kube.objects import Json

WANTS_LABEL = (
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector. "
    "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)


def node(name: str, zone: str = "lab-a", *, ready: bool = True, taint: str = "") -> Json:
    taints = [{"key": taint, "effect": "NoSchedule"}] if taint else []
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    metadata = {"name": name, "labels": {"topology.kubernetes.io/zone": zone}, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"taints": taints}, "status": {"conditions": conditions}}


def pod(name: str, on: str = "", phase: str = "Running", *, namespace: str = "web", **status: Any) -> Json:
    ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid of {name}", "resourceVersion": "1"},
        "spec": {"nodeName": on, "containers": []} if on else {"containers": []},
        "status": {"phase": phase, "conditions": [ready]} | status,
    }


def unschedulable(name: str, message: str = WANTS_LABEL, namespace: str = "web") -> Json:
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(name, phase="Pending", namespace=namespace, conditions=[refused])


def crashing(name: str, on: str) -> Json:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
    return pod(name, on, containerStatuses=[{"name": "main", "state": {"waiting": waiting}}])


def report(name: str, namespace: str = "web", state: str = "Ready") -> Json:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"}, "status": {"state": state}}


def event(number: int, about: str = "web-1", namespace: str = "web", message: str = "Created container main") -> Json:
    return {
        "metadata": {"uid": f"event {number}", "name": f"{about}.{number}", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "name": about, "namespace": namespace},
        "type": "Normal",
        "reason": "Created",
        "message": message,
        "count": 1,
        "eventTime": None,
        "lastTimestamp": f"2026-06-15T10:{number // 60 % 60:02}:{number % 60:02}Z",
    }


NODES = [node("worker-1"), node("worker-2", "lab-b"), node("boss", taint="node-role.kubernetes.io/control-plane")]
