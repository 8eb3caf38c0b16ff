"""Scores: of the nodes where a pod may run, which is the best?

Each rates one node. NormalizeScore then makes the scores of one plugin comparable with those of others: 0 to 100.

The random choice of the book is no score: it is what remains when no score tells the nodes apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from k8sext.kube.quantity import Amounts
from k8sext.scheduling.filters import fits_any, tolerates
from k8sext.scheduling.snapshot import NodeInfo, PodInfo

NodeScores = list[float | None]
"""The scores that one plugin gives to nodes."""

HIGHEST = 100
RATED = ("cpu", "memory")
MEGABYTE = 1024 * 1024
SMALL_IMAGE, LARGE_IMAGE = 23 * MEGABYTE, 1000 * MEGABYTE


def least_allocated(pod: PodInfo, node: NodeInfo) -> int:
    """The emptier, the better: spreads the load. Source: NodeResourcesFit, scoring strategy LeastAllocated."""
    return _mean(
        [1 - min(1.0, share) for share in _shares(node, node.nonzero_requested, pod.requests.nonzero_resources)]
    )


def most_allocated(pod: PodInfo, node: NodeInfo) -> int:
    """The fuller, the better: leaves whole nodes free. Source: NodeResourcesFit, scoring strategy MostAllocated."""
    return _mean([min(1.0, share) for share in _shares(node, node.nonzero_requested, pod.requests.nonzero_resources)])


def balanced_allocation(pod: PodInfo, node: NodeInfo) -> int:
    """Processor and memory used alike, so that neither is left over alone. Source: NodeResourcesBalancedAllocation."""
    if not any(pod.requests.resources.get(name) for name in RATED):
        return 0
    after = _evenness(_shares(node, node.requested, pod.requests.resources))
    before = _evenness(_shares(node, node.requested, {}))
    return HIGHEST // 2 + int((HIGHEST // 2 + after - before) / 2)


def _shares(node: NodeInfo, requested: Amounts, more: Amounts) -> list[float]:
    """For each rated resource that the node has: the share that is taken when the pod is there."""
    return [
        (requested.get(name, 0) + more.get(name, 0)) / node.allocatable[name]
        for name in RATED
        if node.allocatable.get(name)
    ]


def _mean(shares: Sequence[float]) -> int:
    return int(sum(int(share * HIGHEST) for share in shares) / len(shares)) if shares else 0


def _evenness(shares: Sequence[float]) -> int:
    capped = [min(1.0, share) for share in shares]
    deviation = abs(capped[0] - capped[1]) / 2 if len(capped) == 2 else 0.0
    return int((1 - deviation) * HIGHEST)


def taint_toleration(pod: PodInfo, node: NodeInfo) -> int:
    """How many PreferNoSchedule taints the pod does not tolerate: fewer is better."""
    if not node.taints:
        return 0
    soft = [taint for taint in node.taints if taint["effect"] == "PreferNoSchedule"]
    return sum(not tolerates(pod, taint, ("", "PreferNoSchedule")) for taint in soft)


def node_affinity(pod: PodInfo, node: NodeInfo) -> int:
    """The sum of the weights of the preferred terms that select the node."""
    if not pod.requests.preferred_node_terms:
        return 0
    return sum(term.weight for term in pod.requests.preferred_node_terms if fits_any([term], node))


def default_normalize_score(scores: NodeScores) -> list[float]:
    """The highest score becomes 100."""
    highest = max(score or 0 for score in scores)
    return [HIGHEST * (score or 0) // highest if highest else 0 for score in scores]


def reverse_normalize_score(scores: NodeScores) -> list[float]:
    """The highest score becomes 0, none becomes 100."""
    return [HIGHEST - score for score in default_normalize_score(scores)]


def pre_score_node_images(pod: PodInfo, node: NodeInfo) -> dict[str, int] | None:
    """The sizes of those images of the pod that the node has."""
    if not node.images:
        return None
    return {name: node.images[name] for name in map(_with_tag, pod.requests.images) if name in node.images} or None


def pre_score_images(
    pod: PodInfo, states: Iterable[tuple[NodeInfo, dict[str, int]]], feasible: Sequence[NodeInfo]
) -> dict[str, float] | None:
    """On which share of the nodes each image is: what few nodes have must not draw all pods there."""
    nodes = Counter(name for _, images in states for name in images)
    every = max(1, len(feasible))
    return {name: min(1.0, number / every) for name, number in nodes.items()} or None


def image_locality(pod: PodInfo, node: NodeInfo, state: dict[str, float]) -> int:
    """How much of its images the pod need not pull there, in bytes from 23 MB to 1000 MB an image."""
    names = [_with_tag(name) for name in pod.requests.images]
    size = sum(int(node.images[name] * state.get(name, 0)) for name in names if name in node.images)
    largest = LARGE_IMAGE * len(names)
    return HIGHEST * (max(SMALL_IMAGE, min(size, largest)) - SMALL_IMAGE) // (largest - SMALL_IMAGE)


def _with_tag(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"
