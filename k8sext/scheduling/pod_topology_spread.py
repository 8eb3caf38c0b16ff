"""PodTopologySpread: equally many pods of a kind in every zone, on every node, or on every value of another label.

PreFilter and PreScore have two halves as in k8sext.scheduling.inter_pod_affinity: one node, then all.
Source: page "Pod Topology Spread Constraints".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from k8sext.scheduling.filters import KEEPS_AWAY, YES, Reasons, fits_node_affinity, tolerates
from k8sext.scheduling.requests import SpreadConstraint
from k8sext.scheduling.scores import HIGHEST, NodeScores
from k8sext.scheduling.snapshot import NodeInfo, PodInfo

HOSTNAME = "kubernetes.io/hostname"
NO_LABEL = ("node(s) didn't match pod topology spread constraints (missing required label)",)
UNEVEN = ("node(s) didn't match pod topology spread constraints",)

NodeState = tuple[int | None, ...]
"""For each constraint: matching pods on the node; None if the constraint leaves the node out."""


def pre_filter_node(pod: PodInfo, node: NodeInfo) -> NodeState | None:
    """Count the pods on one node that each hard constraint means."""
    return _node_state(pod, node, pod.requests.spread)


def _node_state(pod: PodInfo, node: NodeInfo, constraints: tuple[SpreadConstraint, ...]) -> NodeState | None:
    if not constraints or any(constraint.topology_key not in node.labels for constraint in constraints):
        return None
    return tuple(_matching(pod, node, c) if _includes(pod, node, c) else None for c in constraints)


def _includes(pod: PodInfo, node: NodeInfo, constraint: SpreadConstraint) -> bool:
    if constraint.honor_affinity and not fits_node_affinity(pod, node):
        return False
    return not constraint.honor_taints or all(tolerates(pod, t) for t in node.taints if t["effect"] in KEEPS_AWAY)


def _matching(pod: PodInfo, node: NodeInfo, constraint: SpreadConstraint) -> int:
    if constraint.selector.requirements == ():  # an empty selector counts nothing here, whatever it means elsewhere
        return 0
    others = (other for other in node.pods.values() if other.namespace == pod.namespace and not other.terminating)
    return sum(constraint.selector.matches(other.labels) for other in others)


class CycleState(NamedTuple):
    """For one hard constraint: matching pods by label value, and the smallest of these numbers."""

    pods: Counter[str]
    least: int
    this_one: int  # 1 if the constraint means the pod itself


def pre_filter(pod: PodInfo, states: Iterable[tuple[NodeInfo, NodeState]]) -> list[CycleState] | None:
    """Add up the pods by label value for each constraint; None if the pod has none."""
    constraints = pod.requests.spread
    if not constraints:
        return None
    pods: list[Counter[str]] = [Counter() for _ in constraints]
    for node, numbers in states:
        for counter, constraint, number in zip(pods, constraints, numbers, strict=True):
            if number is not None:
                counter[node.labels[constraint.topology_key]] += number
    return [
        CycleState(
            counter,
            0 if len(counter) < constraint.min_domains else min(counter.values()),
            int(constraint.selector.matches(pod.labels)),
        )
        for counter, constraint in zip(pods, constraints, strict=True)
    ]


def filter(pod: PodInfo, node: NodeInfo, state: list[CycleState]) -> Reasons:
    """With this pod there, no place would be ahead of the emptiest one by more than maxSkew."""
    for constraint, (pods, least, this_one) in zip(pod.requests.spread, state, strict=True):
        value = node.labels.get(constraint.topology_key)
        if value is None:
            return NO_LABEL
        if pods[value] + this_one - least > constraint.max_skew:
            return UNEVEN
    return YES


def pre_score_node(pod: PodInfo, node: NodeInfo) -> NodeState | None:
    """Count the pods on one node that each soft constraint means."""
    return _node_state(pod, node, pod.requests.preferred_spread)


class Weighed(NamedTuple):
    """For one soft constraint: pods by label value, and a weight that makes up for topologies with many values."""

    pods: Counter[str]
    weight: float


def pre_score(
    pod: PodInfo, states: Iterable[tuple[NodeInfo, NodeState]], feasible: Sequence[NodeInfo]
) -> list[Weighed] | None:
    """Add up by label value, for the values that feasible nodes have."""
    constraints = pod.requests.preferred_spread
    if not constraints:
        return None
    keys = [constraint.topology_key for constraint in constraints]
    eligible = [node for node in feasible if all(key in node.labels for key in keys)]
    pods: list[Counter[str]] = [Counter() for _ in constraints]
    for node, numbers in states:
        for counter, key, number in zip(pods, keys, numbers, strict=True):
            if number:
                counter[node.labels[key]] += number
    sizes = [len(eligible) if key == HOSTNAME else len({node.labels[key] for node in eligible}) for key in keys]
    return [Weighed(counter, math.log(size + 2)) for counter, size in zip(pods, sizes, strict=True)]


def score(pod: PodInfo, node: NodeInfo, state: list[Weighed]) -> float | None:
    """The pods that are there already, weighted: fewer is better. None for a node that lacks a label."""
    found = 0.0
    for constraint, (pods, weight) in zip(pod.requests.preferred_spread, state, strict=True):
        value = node.labels.get(constraint.topology_key)
        if value is None:
            return None
        found += pods[value] * weight + constraint.max_skew - 1
    return round(found)


def normalize_score(scores: NodeScores) -> list[float]:
    """The more, the fewer points, in proportion; None earns nothing."""
    found = [score for score in scores if score is not None]
    if not found:
        return [0] * len(scores)
    lowest, highest = min(found), max(found)
    return [0 if s is None else HIGHEST * (highest + lowest - s) // highest if highest else HIGHEST for s in scores]
