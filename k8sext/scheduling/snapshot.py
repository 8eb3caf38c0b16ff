"""Pods and nodes as a scheduler sees them: a node, what it offers, and the pods that take of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k8sext.kube.objects import Json, part, parts
from k8sext.kube.quantity import Amounts, add, amounts
from k8sext.scheduling.requests import Requests, relevant, requests_of
from k8sext.scheduling.selectors import NO_LABELS, Labels


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A pod. `signature` is equal for pods that no plugin can tell apart (KEP-5598 uses the word so)."""

    key: str
    namespace: str
    labels: Labels
    namespace_labels: Labels
    requests: Requests
    signature: tuple[Any, ...]
    terminating: bool
    item: Json

    @property
    def node_name(self) -> str:
        """The node the pod is bound to, "" for none."""
        return self.item["spec"].get("nodeName", "")

    @property
    def uid(self) -> str:
        return self.item["metadata"]["uid"]

    @property
    def priority(self) -> int:
        return self.item["spec"].get("priority", 0)


def read_pod(item: Json, namespace_labels: Labels = NO_LABELS) -> PodInfo:
    """Read a pod's JSON. Raises ValueError when it cannot be read."""
    metadata = item["metadata"]
    namespace, labels = metadata.get("namespace", "default"), metadata.get("labels") or NO_LABELS
    requests = requests_of(namespace, item["spec"])
    signature = (requests, namespace, *sorted(labels.items()))
    key = f"{namespace}/{metadata['name']}"
    return PodInfo(key, namespace, labels, namespace_labels, requests, signature, "deletionTimestamp" in metadata, item)


METADATA = (
    *("name", "namespace", "uid", "resourceVersion", "labels", "annotations"),
    *("creationTimestamp", "deletionTimestamp"),
)
SPEC = ("nodeName", "schedulerName", "priority", "schedulingGates", "resourceClaims", "schedulingGroup")


def strip(item: Json) -> Json:
    """A pod without what a scheduler never reads, for informers: ten thousand pods are kept in memory."""
    kept = {key: item["metadata"][key] for key in METADATA if key in item["metadata"]}
    spec = relevant(item["spec"]) | {key: item["spec"][key] for key in SPEC if key in item["spec"]}
    volumes = item["spec"].get("volumes") or ()
    if claims := [volume for volume in volumes if "persistentVolumeClaim" in volume or "ephemeral" in volume]:
        spec["volumes"] = claims
    status = {"conditions": [c for c in item.get("status", {}).get("conditions") or () if c["type"] == "PodScheduled"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": spec, "status": status}


class NodeInfo:
    """A node, what it offers, and its pods with the sums of what they take. `generation` rises with every change."""

    def __init__(self, item: Json, pods: Iterable[PodInfo] = ()) -> None:
        self.generation = 0
        self.pods: dict[str, PodInfo] = {}
        self.pods_with_affinity: dict[str, PodInfo] = {}  # and those with anti-affinity
        self.requested: Amounts = {}
        self.nonzero_requested: Amounts = {}
        self.used_ports: dict[tuple[str, str, int], int] = {}
        self.set(item)
        for pod in pods:
            self.add(pod)

    def set(self, item: Json) -> None:
        """Take over a new version of the Node object."""
        spec, status = part(item, "spec"), part(item, "status")
        self.name: str = item["metadata"]["name"]
        self.labels: Labels = item["metadata"].get("labels") or NO_LABELS
        self.taints: list[Mapping[str, str]] = spec.get("taints") or []
        self.unschedulable: bool = spec.get("unschedulable", False)
        self.allocatable: Amounts = amounts(status.get("allocatable"))
        self.images: dict[str, int] = {}
        for image in parts(status, "images"):
            names: list[str] = image.get("names") or []
            self.images.update((name, image.get("sizeBytes", 0)) for name in names)

    def add(self, pod: PodInfo) -> None:
        """Count a pod in."""
        self.pods[pod.key] = pod
        if pod.requests.has_affinity:
            self.pods_with_affinity[pod.key] = pod
        self._count(pod, 1)

    def replace(self, pod: PodInfo) -> None:
        """Take over a new version of a pod that requests the same."""
        self.pods[pod.key] = pod
        if pod.key in self.pods_with_affinity:
            self.pods_with_affinity[pod.key] = pod

    def remove(self, key: str) -> None:
        """Count a pod out."""
        pod = self.pods.pop(key)
        self.pods_with_affinity.pop(key, None)
        self._count(pod, -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        add(self.requested, pod.requests.resources, sign)
        add(self.nonzero_requested, pod.requests.nonzero_resources, sign)
        for port in pod.requests.ports:
            self.used_ports[port] = self.used_ports.get(port, 0) + sign
