"""What a pod demands of a node, read once from its spec.

Most pods are copies: the thousand pods of a Deployment demand the same. `demands_of` therefore hands out one shared object for equal
demands, which saves memory and lets the scheduler remember, for all copies, which nodes fit (k8sext.scheduling.finder).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from k8sext.scheduling.quantity import Amounts, add, amounts, raise_to
from k8sext.scheduling.selectors import Labels, NodeTerm, Selector, label_selector, node_term

Json = dict[str, Any]
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)

# What is assumed of containers that do not say what they need, when nodes are scored (kube-scheduler's defaults).
USUAL_REQUESTS = {"cpu": 100, "memory": 200 * 1024 * 1024}

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
class Demands:
    """What a pod demands. Compared by identity: equal demands are one object."""

    requests: Amounts
    usual_requests: Amounts
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
    def mentions_pods(self) -> bool:
        """Whether there is any pod affinity or anti-affinity in it."""
        return bool(self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity)


def relevant(spec: Json) -> Json:
    """Return the part of a pod's spec that a scheduler reads."""
    kept = {field: spec[field] for field in SPEC_FIELDS if spec.get(field)}
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            kept[kind] = [{f: c[f] for f in CONTAINER_FIELDS if c.get(f)} for c in spec[kind]]
    return kept


def demands_of(namespace: str, spec: Json) -> Demands:
    """Return the demands of a pod in a namespace; equal ones are the same object. Raises ValueError for a wrong quantity."""
    return _read(namespace, json.dumps(relevant(spec), sort_keys=True))


@lru_cache(maxsize=8192)
def _read(namespace: str, text: str) -> Demands:
    spec = json.loads(text)
    containers, first = spec.get("containers", []), spec.get("initContainers", [])
    affinity = spec.get("affinity") or {}
    on_nodes = affinity.get("nodeAffinity") or {}
    with_pods, against_pods = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    constraints = spec.get("topologySpreadConstraints", [])
    return Demands(
        requests=pod_requests(spec),
        usual_requests=pod_requests(spec, USUAL_REQUESTS),
        ports=tuple(_host_ports([*containers, *(c for c in first if c.get("restartPolicy") == "Always")])),
        node_selector=tuple((spec.get("nodeSelector") or {}).items()),
        node_terms=tuple(map(node_term, on_nodes[REQUIRED]["nodeSelectorTerms"])) if REQUIRED in on_nodes else None,
        preferred_node_terms=tuple(node_term(t["preference"], t["weight"]) for t in on_nodes.get(PREFERRED) or ()),
        tolerations=tuple(spec.get("tolerations", [])),
        affinity=tuple(_pod_term(term, namespace) for term in with_pods.get(REQUIRED) or ()),
        anti_affinity=tuple(_pod_term(term, namespace) for term in against_pods.get(REQUIRED) or ()),
        preferred_affinity=_weighted(with_pods, namespace),
        preferred_anti_affinity=_weighted(against_pods, namespace),
        spread=tuple(_spread(c) for c in constraints if c["whenUnsatisfiable"] == "DoNotSchedule"),
        preferred_spread=tuple(_spread(c) for c in constraints if c["whenUnsatisfiable"] == "ScheduleAnyway"),
        images=tuple(c.get("image", "") for c in [*first, *containers]),
    )


def pod_requests(spec: Json, usual: Mapping[str, int] | None = None) -> Amounts:
    """Return what a pod takes of its node: all containers and sidecars together, or the peak while init containers run.

    `usual` is assumed where a container says nothing. Source: the page "Sidecar Containers", section on resource sharing; KEP-753.
    """
    total: Amounts = {}
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("containers", []):
        add(total, _container_requests(container, usual))
    for container in spec.get("initContainers", []):
        running = _container_requests(container, usual)
        if container.get("restartPolicy") == "Always":
            add(total, running)
            add(sidecars, running)
            running = {}
        add(running, sidecars)
        raise_to(peak, running)
    raise_to(total, peak)
    total.update(amounts((spec.get("resources") or {}).get("requests")))
    add(total, amounts(spec.get("overhead")))
    return total


def _container_requests(container: Json, usual: Mapping[str, int] | None) -> Amounts:
    return {**(usual or {}), **amounts((container.get("resources") or {}).get("requests"))}


def _host_ports(containers: list[Json]) -> list[tuple[str, str, int]]:
    ports = [port for container in containers for port in container.get("ports", []) if port.get("hostPort")]
    return [(port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), port["hostPort"]) for port in ports]


def _weighted(affinity: Json, namespace: str) -> tuple[PodTerm, ...]:
    terms = affinity.get(PREFERRED) or ()
    return tuple(_pod_term(term["podAffinityTerm"], namespace, term["weight"]) for term in terms)


def _pod_term(term: Json, namespace: str, weight: int = 0) -> PodTerm:
    named, selector = term.get("namespaces") or [], term.get("namespaceSelector")
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
