"""Topology spread: equally many pods of a kind in every zone, or on every node, or wherever a label of nodes draws the line.

In three steps like pod affinity: look at each node, count by label value, check each node.
Source: kube-scheduler plugin PodTopologySpread; page "Pod Topology Spread Constraints".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from k8sext.scheduling.demands import SpreadConstraint
from k8sext.scheduling.filters import KEEPS_AWAY, YES, Reasons, fits_node_affinity, tolerates
from k8sext.scheduling.world import Node, Pod

HOSTNAME = "kubernetes.io/hostname"
NO_LABEL = ("node(s) didn't match pod topology spread constraints (missing required label)",)
UNEVEN = ("node(s) didn't match pod topology spread constraints",)

Seen = tuple[
    int | None, ...
]  # for each constraint: matching pods on the node; None if the constraint leaves the node out


def look(pod: Pod, node: Node) -> Seen | None:
    """Count the pods on one node that each hard constraint means."""
    return _look(pod, node, pod.demands.spread)


def _look(pod: Pod, node: Node, constraints: tuple[SpreadConstraint, ...]) -> Seen | None:
    if not constraints or any(constraint.topology_key not in node.labels for constraint in constraints):
        return None
    return tuple(_matching(pod, node, c) if _includes(pod, node, c) else None for c in constraints)


def _includes(pod: Pod, node: Node, constraint: SpreadConstraint) -> bool:
    if constraint.honor_affinity and not fits_node_affinity(pod, node):
        return False
    return not constraint.honor_taints or all(tolerates(pod, t) for t in node.taints if t["effect"] in KEEPS_AWAY)


def _matching(pod: Pod, node: Node, constraint: SpreadConstraint) -> int:
    if constraint.selector.requirements == ():  # an empty selector counts nothing here, whatever it means elsewhere
        return 0
    others = (other for other in node.pods.values() if other.namespace == pod.namespace and not other.terminating)
    return sum(constraint.selector.matches(other.labels) for other in others)


class Counts(NamedTuple):
    """For one constraint: matching pods by label value, and the smallest of these numbers."""

    pods: Counter[str]
    least: int
    this_one: int  # 1 if the constraint means the pod itself


def count(pod: Pod, seen: Iterable[tuple[Node, Seen]]) -> list[Counts] | None:
    """Add up the pods by label value for each constraint; None if the pod has none."""
    constraints = pod.demands.spread
    if not constraints:
        return None
    pods: list[Counter[str]] = [Counter() for _ in constraints]
    for node, numbers in seen:
        for counter, constraint, number in zip(pods, constraints, numbers, strict=True):
            if number is not None:
                counter[node.labels[constraint.topology_key]] += number
    return [
        Counts(
            counter,
            0 if len(counter) < constraint.min_domains else min(counter.values()),
            int(constraint.selector.matches(pod.labels)),
        )
        for counter, constraint in zip(pods, constraints, strict=True)
    ]


def check(pod: Pod, node: Node, counts: list[Counts]) -> Reasons:
    """Check one node: with this pod there, no place would be ahead of the emptiest one by more than maxSkew."""
    for constraint, (pods, least, this_one) in zip(pod.demands.spread, counts, strict=True):
        value = node.labels.get(constraint.topology_key)
        if value is None:
            return NO_LABEL
        if pods[value] + this_one - least > constraint.max_skew:
            return UNEVEN
    return YES


def look_preferred(pod: Pod, node: Node) -> Seen | None:
    """Count the pods on one node that each soft constraint means."""
    return _look(pod, node, pod.demands.preferred_spread)


class Weighed(NamedTuple):
    """For one soft constraint: pods by label value, and the weight that keeps topologies with many values from counting less."""

    pods: Counter[str]
    weight: float


def count_preferred(pod: Pod, seen: Iterable[tuple[Node, Seen]], feasible: Iterable[Node]) -> list[Weighed] | None:
    """Add up by label value, for the values that feasible nodes have."""
    constraints = pod.demands.preferred_spread
    if not constraints:
        return None
    keys = [constraint.topology_key for constraint in constraints]
    eligible = [node for node in feasible if all(key in node.labels for key in keys)]
    pods: list[Counter[str]] = [Counter() for _ in constraints]
    for node, numbers in seen:
        for counter, key, number in zip(pods, keys, numbers, strict=True):
            if number:
                counter[node.labels[key]] += number
    sizes = [len(eligible) if key == HOSTNAME else len({node.labels[key] for node in eligible}) for key in keys]
    return [Weighed(counter, math.log(size + 2)) for counter, size in zip(pods, sizes, strict=True)]


def rate_preferred(pod: Pod, node: Node, counts: list[Weighed]) -> float | None:
    """Rate a node by the pods that are there already: fewer is better. None for a node that lacks a label."""
    rate = 0.0
    for constraint, (pods, weight) in zip(pod.demands.preferred_spread, counts, strict=True):
        value = node.labels.get(constraint.topology_key)
        if value is None:
            return None
        rate += pods[value] * weight + constraint.max_skew - 1
    return round(rate)
