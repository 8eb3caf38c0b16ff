"""The pod that collects a report: how it is written, and how its state is read."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime

from k8sext import __version__
from k8sext.kube.request import Json
from k8sext.kube.store import controller_of
from k8sext.resources import API_VERSION, KIND

MANAGED_BY = {"app.kubernetes.io/managed-by": "k8s-operator-example"}
SELECTOR = "app.kubernetes.io/managed-by=k8s-operator-example"
SERVICE_ACCOUNT = "weather-collector"
GENERATION, ATTEMPT = "k8s.packt.com/generation", "k8s.packt.com/attempt"

UNKNOWN_CITY, UNREACHABLE = 3, 4
"""With these exit codes the collector says why it failed; its last line says it in words."""

LONGEST_NAME = 253
TIME_LIMIT = 300


def image() -> str:
    """Return the image of the collector: the workbook's own, unless $K8SEXT_IMAGE names another."""
    return os.environ.get("K8SEXT_IMAGE") or f"localhost/k8sext:{__version__}"


def pod_name(report: Json, attempt: int) -> str:
    """Return the name of the pod of an attempt. It is the same whoever asks, so no attempt can ever be made twice."""
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
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(report, attempt),
            "namespace": metadata["namespace"],
            "labels": MANAGED_BY,
            "annotations": {GENERATION: str(metadata["generation"]), ATTEMPT: str(attempt)},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "serviceAccountName": SERVICE_ACCOUNT,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": TIME_LIMIT,
            "terminationGracePeriodSeconds": 2,
            "containers": [
                {
                    "name": "collect",
                    "image": image(),
                    "command": ["python", "-m", "k8sext.operators.collect"],
                    "env": [
                        {"name": "REPORT", "value": metadata["name"]},
                        {"name": "GENERATION", "value": str(metadata["generation"])},
                        {"name": "NAMESPACE", "value": metadata["namespace"]},
                    ],
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }
            ],
        },
    }


def slim(pod: Json) -> Json:
    """Keep of a pod what this operator reads: ten thousand whole pods would fill the memory."""
    metadata, status = pod["metadata"], pod.get("status", {})
    kept = ("name", "namespace", "uid", "resourceVersion", "annotations", "ownerReferences", "deletionTimestamp")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "status": {
            name: status[name] for name in ("phase", "containerStatuses", "message", "reason") if name in status
        },
    }


def owner_uid(pod: Json) -> list[str]:
    """The index by which a report's pods are found."""
    owner = controller_of(pod)
    return [owner["uid"]] if owner and owner["kind"] == KIND else []


def number(pod: Json, annotation: str) -> int:
    """Return the generation or the attempt a pod was made for; 0 if somebody else made it or spoilt it."""
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdecimal() else 0


def terminated(pod: Json) -> Json:
    """Return how the collector's container ended: exitCode, message, finishedAt; empty if the pod never got that far."""
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if "terminated" in container.get("state", {}):
            return container["state"]["terminated"]
    return {}


def waiting(pod: Json) -> Json:
    """Return why the collector's container does not start, as reason and message; empty if nothing is known."""
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if container.get("state", {}).get("waiting", {}).get("reason") not in (
            None,
            "ContainerCreating",
            "PodInitializing",
        ):
            return container["state"]["waiting"]
    return {}


def finished_at(pod: Json) -> float | None:
    """Return when the collector ended, in seconds since 1970; None if that is not known."""
    text = terminated(pod).get("finishedAt")
    return datetime.fromisoformat(text).timestamp() if text else None
