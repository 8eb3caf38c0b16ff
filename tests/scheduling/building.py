"""Nodes and pods for tests, short to write."""

from __future__ import annotations

from typing import Any

from k8sext.kube.objects import Json
from k8sext.scheduling.cache import Cache
from k8sext.scheduling.decision import Decision
from k8sext.scheduling.framework import Framework
from k8sext.scheduling.profiles import KUBE, Profile

ZONE, HOSTNAME = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110"}


def node(
    name: str, zone: str = "", *, labels: Json | None = None, taints: list[Json] | None = None, **more: Any
) -> Json:
    """A node of 4 processors; `capacity` changes what it offers, `unschedulable` cordons it, `images` are on it."""
    own = {HOSTNAME: name} | ({ZONE: zone} if zone else {}) | (labels or {})
    spec = {"taints": taints or []} | ({"unschedulable": True} if more.get("unschedulable") else {})
    capacity = CAPACITY | more.get("capacity", {})
    status = {"capacity": capacity, "allocatable": capacity, "images": more.get("images", [])}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own},
        "spec": spec,
        "status": status,
    }


def taint(key: str, effect: str = "NoSchedule", value: str = "") -> Json:
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def pod(name: str, on: str = "", *, labels: Json | None = None, requests: Json | None = None, **spec: Any) -> Json:
    """A pod, bound to the node `on` if one is given; further keywords go into its spec."""
    container = {"name": "c", "image": "none"} | ({"resources": {"requests": requests}} if requests else {})
    metadata = {
        "name": name,
        "namespace": spec.pop("namespace", "default"),
        "uid": f"uid-{name}",
        "labels": labels or {},
    }
    body = {"containers": [container]} | ({"nodeName": on} if on else {}) | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"resourceVersion": "1"}, "spec": body}


def term(app: str, key: str = ZONE, **more: Any) -> Json:
    """A term of pod affinity: pods with the label app."""
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **more}


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def near(*terms: Json) -> Json:
    return {"podAffinity": {REQUIRED: list(terms)}}


def far(*terms: Json) -> Json:
    return {"podAntiAffinity": {REQUIRED: list(terms)}}


def snapshot(nodes: list[Json], pods: list[Json] | None = None, namespaces: dict[str, Json] | None = None) -> Cache:
    """A cache that knows these nodes and pods."""
    cache = Cache()
    for name, labels in (namespaces or {}).items():
        cache.set_namespace(name, labels)
    for item in nodes:
        cache.set_node(item)
    for item in pods or []:
        cache.set_pod(cache.read(item))
    return cache


def find(item: Json, nodes: list[Json], pods: list[Json] | None = None, profile: Profile = KUBE) -> Decision:
    """Where would this pod go?"""
    cache = snapshot(nodes, pods)
    return Framework(cache, profile, seed=0).schedule(cache.read(item))


def feasible(cache: Cache, item: Json, profile: Profile = KUBE) -> set[str]:
    """The nodes that pass all filters."""
    return set(Framework(cache, profile, seed=0).explain(cache.read(item))[1])
