"""What a pod requests of a node, read once from its spec.

Most pods are copies: the thousand pods of a Deployment request the same. `requests_of` therefore hands out one shared
object for equal requests, which saves memory and lets the scheduler remember, for all copies, which nodes fit
(k8sext.scheduling.framework).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from k8sext.kube.objects import Json, part, parts
from k8sext.kube.pod import containers, init_containers, is_sidecar, requests
from k8sext.kube.quantity import Amounts
from k8sext.scheduling.selectors import Labels, NodeTerm, Selector, label_selector, node_term

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

DEFAULT_REQUESTS = {"cpu": 100, "memory": 200 * 1024 * 1024}
"""What is assumed of containers that do not say what they need, when nodes are scored (kube-scheduler's defaults)."""

SPEC_FIELDS = ("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "overhead", "resources")
CONTAINER_FIELDS = ("image", "resources", "ports", "restartPolicy")


@dataclass(frozen=True)
class PodTerm:
    """One term of pod affinity: these pods, in these namespaces, counted by this label of their nodes."""

    selector: Selector
    topology_key: str
    namespaces: frozenset[str]
    namespace_selector: Selector
    weight: int = 0

    def matches(self, namespace: str, namespace_labels: Labels, labels: Labels) -> bool:
        """Whether a pod with these labels in this namespace is meant."""
        where = namespace in self.namespaces or self.namespace_selector.matches(namespace_labels)
        return where and self.selector.matches(labels)


@dataclass(frozen=True)
class SpreadConstraint:
    """One topologySpreadConstraint."""

    max_skew: int
    topology_key: str
    selector: Selector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


@dataclass(frozen=True, eq=False)
class Requests:
    """What a pod requests; `nonzero_resources` with the defaults. Compared by identity: equal ones are one object."""

    resources: Amounts
    nonzero_resources: Amounts
    ports: tuple[tuple[str, str, int], ...]
    node_selector: tuple[tuple[str, str], ...]
    node_terms: tuple[NodeTerm, ...] | None
    preferred_node_terms: tuple[NodeTerm, ...]
    tolerations: tuple[Mapping[str, str], ...]
    affinity: tuple[PodTerm, ...]
    anti_affinity: tuple[PodTerm, ...]
    preferred_affinity: tuple[PodTerm, ...]
    preferred_anti_affinity: tuple[PodTerm, ...]
    spread: tuple[SpreadConstraint, ...]
    preferred_spread: tuple[SpreadConstraint, ...]
    images: tuple[str, ...]

    @property
    def has_affinity(self) -> bool:
        """Whether there is any pod affinity or anti-affinity in it."""
        return bool(self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity)


def relevant(spec: Json) -> Json:
    """Return the part of a pod's spec that a scheduler reads."""
    kept = {field: spec[field] for field in SPEC_FIELDS if spec.get(field)}
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            kept[kind] = [{f: c[f] for f in CONTAINER_FIELDS if c.get(f)} for c in spec[kind]]
    return kept


def requests_of(namespace: str, spec: Json) -> Requests:
    """Return what a pod requests; equal requests are the same object. Raises ValueError for a wrong quantity."""
    return _read(namespace, json.dumps(relevant(spec), sort_keys=True))


@lru_cache(maxsize=8192)
def _read(namespace: str, text: str) -> Requests:
    spec: Json = json.loads(text)
    pod = {"spec": spec}
    affinity = part(spec, "affinity")
    on_nodes = part(affinity, "nodeAffinity")
    with_pods, against_pods = part(affinity, "podAffinity"), part(affinity, "podAntiAffinity")
    constraints = parts(spec, "topologySpreadConstraints")
    return Requests(
        resources=requests(pod),
        nonzero_resources=requests(pod, DEFAULT_REQUESTS),
        ports=tuple(_host_ports([*containers(pod), *filter(is_sidecar, init_containers(pod))])),
        node_selector=tuple(part(spec, "nodeSelector").items()),
        node_terms=tuple(map(node_term, on_nodes[REQUIRED]["nodeSelectorTerms"])) if REQUIRED in on_nodes else None,
        preferred_node_terms=tuple(node_term(t["preference"], t["weight"]) for t in parts(on_nodes, PREFERRED)),
        tolerations=tuple(parts(spec, "tolerations")),
        affinity=tuple(_pod_term(term, namespace) for term in parts(with_pods, REQUIRED)),
        anti_affinity=tuple(_pod_term(term, namespace) for term in parts(against_pods, REQUIRED)),
        preferred_affinity=_weighted(with_pods, namespace),
        preferred_anti_affinity=_weighted(against_pods, namespace),
        spread=tuple(_spread(c) for c in constraints if c["whenUnsatisfiable"] == "DoNotSchedule"),
        preferred_spread=tuple(_spread(c) for c in constraints if c["whenUnsatisfiable"] == "ScheduleAnyway"),
        images=tuple(c.get("image", "") for c in [*init_containers(pod), *containers(pod)]),
    )


def _host_ports(running: list[Json]) -> list[tuple[str, str, int]]:
    ports = [port for container in running for port in container.get("ports", []) if port.get("hostPort")]
    return [(port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), port["hostPort"]) for port in ports]


def _weighted(affinity: Json, namespace: str) -> tuple[PodTerm, ...]:
    terms = parts(affinity, PREFERRED)
    return tuple(_pod_term(term["podAffinityTerm"], namespace, term["weight"]) for term in terms)


def _pod_term(term: Json, namespace: str, weight: int = 0) -> PodTerm:
    named: list[str] = term.get("namespaces") or []
    selector: Json | None = term.get("namespaceSelector")
    namespaces = frozenset(named if named or selector is not None else [namespace])
    return PodTerm(
        label_selector(term.get("labelSelector")), term["topologyKey"], namespaces, label_selector(selector), weight
    )


def _spread(constraint: Json) -> SpreadConstraint:
    return SpreadConstraint(
        constraint["maxSkew"],
        constraint["topologyKey"],
        label_selector(constraint.get("labelSelector")),
        constraint.get("minDomains") or 1,
        constraint.get("nodeAffinityPolicy", "Honor") == "Honor",
        constraint.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )
