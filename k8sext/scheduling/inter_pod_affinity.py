"""InterPodAffinity: near these pods, far from those, where near means "on nodes with the same value of this label".

What is near a node stands on other nodes. So before Filter comes PreFilter, which looks at all nodes; here it has two
halves. The first looks at one node, and its answer holds until that node changes; the second adds the answers up by
label value. PreScore, which comes before Score, has the same two halves. Source: page "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from k8sext.scheduling.filters import YES, Reasons
from k8sext.scheduling.requests import PodTerm
from k8sext.scheduling.scores import HIGHEST, NodeScores
from k8sext.scheduling.snapshot import NodeInfo, PodInfo

Place = tuple[str, str]
"""A label of nodes and its value."""
NOT_NEAR = ("node(s) didn't match pod affinity rules",)
TOO_NEAR = ("node(s) didn't match pod anti-affinity rules",)
UNWANTED = ("node(s) didn't satisfy existing pods anti-affinity rules",)

HARD_POD_AFFINITY_WEIGHT = 1
"""What a required affinity of a pod that is there is worth as a preference of the one that comes."""


class NodeState(NamedTuple):
    """What one node says to a pod."""

    affinity: int  # pods here that match all its affinity terms
    anti_affinity: tuple[int, ...]  # for each anti-affinity term: pods here that match it
    existing_anti_affinity: tuple[str, ...]  # topology keys of terms by which pods here keep it away


class CycleState(NamedTuple):
    """What all nodes say, by place."""

    affinity: Counter[Place]
    anti_affinity: Counter[Place]
    existing_anti_affinity: set[Place]


def pre_filter_node(pod: PodInfo, node: NodeInfo) -> NodeState | None:
    """Look at the pods of one node; None if there is nothing to say."""
    affinity, anti_affinity = pod.requests.affinity, pod.requests.anti_affinity
    if not affinity and not anti_affinity and not node.pods_with_affinity:
        return None
    existing = tuple(
        term.topology_key
        for other in node.pods_with_affinity.values()
        for term in other.requests.anti_affinity
        if _matches(term, pod)
    )
    if not affinity and not anti_affinity:
        return NodeState(0, (), existing) if existing else None
    others = node.pods.values()
    matching = sum(matches_all(affinity, other) for other in others) if affinity else 0
    return NodeState(
        matching, tuple(sum(_matches(term, other) for other in others) for term in anti_affinity), existing
    )


def pre_filter(pod: PodInfo, states: Iterable[tuple[NodeInfo, NodeState]]) -> CycleState | None:
    """Add up what the nodes say, by place; None if no node needs a check."""
    total = CycleState(Counter(), Counter(), set())
    for node, (matching, repelling, keys) in states:
        total.existing_anti_affinity.update((key, node.labels[key]) for key in keys if key in node.labels)
        if matching:
            for term in pod.requests.affinity:
                if term.topology_key in node.labels:
                    total.affinity[term.topology_key, node.labels[term.topology_key]] += matching
        for term, number in zip(pod.requests.anti_affinity, repelling, strict=True):
            if number and term.topology_key in node.labels:
                total.anti_affinity[term.topology_key, node.labels[term.topology_key]] += number
    return total if pod.requests.affinity or total.anti_affinity or total.existing_anti_affinity else None


def filter(pod: PodInfo, node: NodeInfo, state: CycleState) -> Reasons:
    """Near enough, far enough, and nobody there who wants this pod to keep away."""
    if pod.requests.affinity and not _near(pod, node, state):
        return NOT_NEAR
    for term in pod.requests.anti_affinity:
        value = node.labels.get(term.topology_key)
        if value is not None and state.anti_affinity.get((term.topology_key, value)):
            return TOO_NEAR
    for key, value in state.existing_anti_affinity:
        if node.labels.get(key) == value:
            return UNWANTED
    return YES


def _near(pod: PodInfo, node: NodeInfo, state: CycleState) -> bool:
    terms = pod.requests.affinity
    if any(term.topology_key not in node.labels for term in terms):
        return False
    if all(state.affinity[term.topology_key, node.labels[term.topology_key]] for term in terms):
        return True
    # the first of a group that wants to be together may go anywhere
    return not state.affinity and matches_all(terms, pod)


def _matches(term: PodTerm, pod: PodInfo) -> bool:
    return term.matches(pod.namespace, pod.namespace_labels, pod.labels)


def matches_all(terms: Iterable[PodTerm], pod: PodInfo) -> bool:
    """Whether every one of the terms means a pod."""
    return all(_matches(term, pod) for term in terms)


def pre_score_node(pod: PodInfo, node: NodeInfo) -> Counter[str] | None:
    """By topology key, the weight of all on a node that attracts the pod less all that repels it, from either side."""
    if not pod.requests.has_affinity and not node.pods_with_affinity:
        return None
    weights: Counter[str] = Counter()
    if pod.requests.preferred_affinity or pod.requests.preferred_anti_affinity:
        for other in node.pods.values():
            _weigh(weights, pod.requests.preferred_affinity, other, 1)
            _weigh(weights, pod.requests.preferred_anti_affinity, other, -1)
    for other in node.pods_with_affinity.values():
        for term in other.requests.affinity:
            if _matches(term, pod):
                weights[term.topology_key] += HARD_POD_AFFINITY_WEIGHT
        _weigh(weights, other.requests.preferred_affinity, pod, 1)
        _weigh(weights, other.requests.preferred_anti_affinity, pod, -1)
    return weights or None


def _weigh(weights: Counter[str], terms: Iterable[PodTerm], pod: PodInfo, sign: int) -> None:
    for term in terms:
        if _matches(term, pod):
            weights[term.topology_key] += sign * term.weight


def pre_score(
    pod: PodInfo, states: Iterable[tuple[NodeInfo, Counter[str]]], feasible: Sequence[NodeInfo]
) -> dict[Place, int] | None:
    """Add the weights up by place."""
    total: Counter[Place] = Counter()
    for node, weights in states:
        for key, weight in weights.items():
            if key in node.labels:
                total[key, node.labels[key]] += weight
    return dict(total) or None


def score(pod: PodInfo, node: NodeInfo, state: dict[Place, int]) -> int:
    """The sum of the weights of the places that the node belongs to."""
    return sum(weight for (key, value), weight in state.items() if node.labels.get(key) == value)


def normalize_score(scores: NodeScores) -> list[float]:
    """The highest becomes 100, the lowest 0."""
    found = [score or 0 for score in scores]
    lowest, highest = min(found), max(found)
    return [int(HIGHEST * (score - lowest) / (highest - lowest)) if highest > lowest else 0 for score in found]
