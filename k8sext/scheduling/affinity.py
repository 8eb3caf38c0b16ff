"""Pod affinity: near these pods, far from those, where near means "on nodes with the same value of this label".

It needs three steps, because what is near a node stands on other nodes: `look` at each node (remembered until the node changes),
`count` what was seen by label value, `check` each node against the counts.
Source: kube-scheduler plugin InterPodAffinity; page "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from k8sext.scheduling.demands import PodTerm
from k8sext.scheduling.filters import YES, Reasons
from k8sext.scheduling.world import Node, Pod

Place = tuple[str, str]  # a label of nodes and its value
NOT_NEAR = ("node(s) didn't match pod affinity rules",)
TOO_NEAR = ("node(s) didn't match pod anti-affinity rules",)
UNWANTED = ("node(s) didn't satisfy existing pods anti-affinity rules",)

HARD_AFFINITY_WEIGHT = (
    1  # what a required affinity of a pod that is there is worth as a preference of the one that comes
)


class Seen(NamedTuple):
    """What one node says to a pod."""

    wanted: int  # pods here that match all its affinity terms
    unwanted: tuple[int, ...]  # for each anti-affinity term: pods here that match it
    keys_against: tuple[str, ...]  # topology keys of terms by which pods here keep it away


class Counts(NamedTuple):
    """What was seen, by place."""

    wanted: Counter[Place]
    unwanted: Counter[Place]
    against: set[Place]


def look(pod: Pod, node: Node) -> Seen | None:
    """Look at the pods of one node; None if there is nothing to say."""
    affinity, anti_affinity = pod.demands.affinity, pod.demands.anti_affinity
    if not affinity and not anti_affinity and not node.mentioning:
        return None
    against = tuple(
        term.topology_key
        for other in node.mentioning.values()
        for term in other.demands.anti_affinity
        if _means(term, pod)
    )
    if not affinity and not anti_affinity:
        return Seen(0, (), against) if against else None
    others = node.pods.values()
    wanted = sum(means_all(affinity, other) for other in others) if affinity else 0
    return Seen(wanted, tuple(sum(_means(term, other) for other in others) for term in anti_affinity), against)


def count(pod: Pod, seen: Iterable[tuple[Node, Seen]]) -> Counts | None:
    """Add up what the nodes say, by place; None if no node needs a check."""
    counts = Counts(Counter(), Counter(), set())
    for node, (wanted, unwanted, keys_against) in seen:
        for key in keys_against:
            _add(counts.against, node, key)
        if wanted:
            for term in pod.demands.affinity:
                if term.topology_key in node.labels:
                    counts.wanted[term.topology_key, node.labels[term.topology_key]] += wanted
        for term, number in zip(pod.demands.anti_affinity, unwanted, strict=True):
            if number and term.topology_key in node.labels:
                counts.unwanted[term.topology_key, node.labels[term.topology_key]] += number
    return counts if pod.demands.affinity or counts.unwanted or counts.against else None


def check(pod: Pod, node: Node, counts: Counts) -> Reasons:
    """Check one node: near enough, far enough, and nobody there who wants this pod to keep away."""
    if pod.demands.affinity and not _near(pod, node, counts):
        return NOT_NEAR
    for term in pod.demands.anti_affinity:
        if (
            counts.unwanted.get((term.topology_key, node.labels.get(term.topology_key, "")))
            and term.topology_key in node.labels
        ):
            return TOO_NEAR
    for key, value in counts.against:
        if node.labels.get(key) == value:
            return UNWANTED
    return YES


def _near(pod: Pod, node: Node, counts: Counts) -> bool:
    terms = pod.demands.affinity
    if any(term.topology_key not in node.labels for term in terms):
        return False
    if all(counts.wanted[term.topology_key, node.labels[term.topology_key]] for term in terms):
        return True
    # the first of a group that wants to be together may go anywhere
    return not counts.wanted and means_all(terms, pod)


def _means(term: PodTerm, pod: Pod) -> bool:
    return term.matches(pod.namespace, pod.namespace_labels, pod.labels)


def means_all(terms: Iterable[PodTerm], pod: Pod) -> bool:
    """Whether a pod is meant by every one of the terms."""
    return all(_means(term, pod) for term in terms)


def _add(places: set[Place], node: Node, key: str) -> None:
    if key in node.labels:
        places.add((key, node.labels[key]))


def look_preferred(pod: Pod, node: Node) -> Counter[str] | None:
    """Look at one node: by topology key, the weight of all that attracts the pod less all that repels it, from either side."""
    if not pod.demands.mentions_pods and not node.mentioning:
        return None
    weights: Counter[str] = Counter()
    if pod.demands.preferred_affinity or pod.demands.preferred_anti_affinity:
        for other in node.pods.values():
            _weigh(weights, pod.demands.preferred_affinity, other, 1)
            _weigh(weights, pod.demands.preferred_anti_affinity, other, -1)
    for other in node.mentioning.values():
        for term in other.demands.affinity:
            if _means(term, pod):
                weights[term.topology_key] += HARD_AFFINITY_WEIGHT
        _weigh(weights, other.demands.preferred_affinity, pod, 1)
        _weigh(weights, other.demands.preferred_anti_affinity, pod, -1)
    return weights or None


def _weigh(weights: Counter[str], terms: Iterable[PodTerm], pod: Pod, sign: int) -> None:
    for term in terms:
        if _means(term, pod):
            weights[term.topology_key] += sign * term.weight


def count_preferred(
    pod: Pod, seen: Iterable[tuple[Node, Counter[str]]], feasible: Iterable[Node]
) -> dict[Place, int] | None:
    """Add the weights up by place."""
    total: Counter[Place] = Counter()
    for node, weights in seen:
        for key, weight in weights.items():
            if key in node.labels:
                total[key, node.labels[key]] += weight
    return dict(total) or None


def rate_preferred(pod: Pod, node: Node, places: dict[Place, int]) -> int:
    """Rate a node by the places it belongs to."""
    return sum(weight for (key, value), weight in places.items() if node.labels.get(key) == value)
