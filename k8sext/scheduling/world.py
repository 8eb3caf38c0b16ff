"""Pods and nodes as a scheduler sees them: a node, what it offers, and the pods that take of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k8sext.scheduling.demands import Demands, demands_of, relevant
from k8sext.scheduling.quantity import Amounts, add, amounts
from k8sext.scheduling.selectors import NO_LABELS, Labels

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. `sort` is equal for pods that no filter and no score can tell apart."""

    key: str
    namespace: str
    labels: Labels
    namespace_labels: Labels
    demands: Demands
    sort: tuple[Any, ...]
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


def read_pod(item: Json, namespace_labels: Labels = NO_LABELS) -> Pod:
    """Read a pod's JSON. Raises ValueError when it cannot be read."""
    metadata = item["metadata"]
    namespace, labels = metadata.get("namespace", "default"), metadata.get("labels") or NO_LABELS
    demands = demands_of(namespace, item["spec"])
    sort = (demands, namespace, *sorted(labels.items()))
    key = f"{namespace}/{metadata['name']}"
    return Pod(key, namespace, labels, namespace_labels, demands, sort, "deletionTimestamp" in metadata, item)


def slim(item: Json) -> Json:
    """Return a pod's JSON without what a scheduler never reads: ten thousand pods are kept in memory."""
    kept = {key: item["metadata"][key] for key in METADATA if key in item["metadata"]}
    spec = relevant(item["spec"]) | {key: item["spec"][key] for key in SPEC if key in item["spec"]}
    if claims := [
        volume
        for volume in item["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume or "ephemeral" in volume
    ]:
        spec["volumes"] = claims
    status = {"conditions": [c for c in item.get("status", {}).get("conditions") or () if c["type"] == "PodScheduled"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": spec, "status": status}


METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
)
SPEC = ("nodeName", "schedulerName", "priority", "schedulingGates", "resourceClaims", "schedulingGroup")


class Node:
    """A node, what it offers, and the pods on it with the sums of what they take. `generation` rises with every change."""

    def __init__(self, item: Json, pods: Iterable[Pod] = ()) -> None:
        self.generation = 0
        self.pods: dict[str, Pod] = {}
        self.mentioning: dict[str, Pod] = {}  # the pods that have affinity to other pods, or the contrary
        self.requested: Amounts = {}
        self.usual_requested: Amounts = {}
        self.ports: dict[tuple[str, str, int], int] = {}
        self.set(item)
        for pod in pods:
            self.add(pod)

    def set(self, item: Json) -> None:
        """Take over a new version of the Node object."""
        spec, status = item.get("spec") or {}, item.get("status") or {}
        self.name: str = item["metadata"]["name"]
        self.labels: Labels = item["metadata"].get("labels") or NO_LABELS
        self.taints: list[Mapping[str, str]] = spec.get("taints") or []
        self.unschedulable: bool = spec.get("unschedulable", False)
        self.allocatable: Amounts = amounts(status.get("allocatable"))
        self.images = {
            name: image.get("sizeBytes", 0) for image in status.get("images") or () for name in image.get("names") or ()
        }

    def add(self, pod: Pod) -> None:
        """Count a pod in."""
        self.pods[pod.key] = pod
        if pod.demands.mentions_pods:
            self.mentioning[pod.key] = pod
        self._count(pod, 1)

    def replace(self, pod: Pod) -> None:
        """Take over a new version of a pod that demands the same."""
        self.pods[pod.key] = pod
        if pod.key in self.mentioning:
            self.mentioning[pod.key] = pod

    def remove(self, key: str) -> None:
        """Count a pod out."""
        pod = self.pods.pop(key)
        self.mentioning.pop(key, None)
        self._count(pod, -1)

    def _count(self, pod: Pod, sign: int) -> None:
        add(self.requested, pod.demands.requests, sign)
        add(self.usual_requested, pod.demands.usual_requests, sign)
        for port in pod.demands.ports:
            self.ports[port] = self.ports.get(port, 0) + sign
