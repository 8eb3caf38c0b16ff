"""Scores: of the nodes where a pod may run, which is the best? Each rates one node; then a scale makes ratings comparable, 0 to 100.

The scales are kube-scheduler's NormalizeScore functions. The random choice of the book is no score: it is what remains when no score
tells the nodes apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from k8sext.scheduling.filters import fits_any, tolerates
from k8sext.scheduling.quantity import Amounts
from k8sext.scheduling.world import Node, Pod

HIGHEST = 100
RATED = ("cpu", "memory")
MEGABYTE = 1024 * 1024
SMALL_IMAGE, LARGE_IMAGE = 23 * MEGABYTE, 1000 * MEGABYTE


def least_allocated(pod: Pod, node: Node) -> int:
    """The emptier, the better: spreads the load. Source: NodeResourcesFit, strategy LeastAllocated."""
    shares = [1 - min(1.0, share) for share in _shares(node, node.usual_requested, pod.demands.usual_requests)]
    return _mean(shares)


def most_allocated(pod: Pod, node: Node) -> int:
    """The fuller, the better: leaves whole nodes free. Source: NodeResourcesFit, strategy MostAllocated."""
    return _mean([min(1.0, share) for share in _shares(node, node.usual_requested, pod.demands.usual_requests)])


def balanced(pod: Pod, node: Node) -> int:
    """Processor and memory used alike, so that neither is left over alone. Source: NodeResourcesBalancedAllocation."""
    if not any(pod.demands.requests.get(name) for name in RATED):
        return 0
    after = _evenness(_shares(node, node.requested, pod.demands.requests))
    before = _evenness(_shares(node, node.requested, {}))
    return HIGHEST // 2 + int((HIGHEST // 2 + after - before) / 2)


def _shares(node: Node, requested: Amounts, more: Amounts) -> list[float]:
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


def taint_preference(pod: Pod, node: Node) -> int:
    """How many PreferNoSchedule taints the pod does not tolerate: fewer is better. Source: TaintToleration."""
    if not node.taints:
        return 0
    soft = [taint for taint in node.taints if taint["effect"] == "PreferNoSchedule"]
    return sum(not tolerates(pod, taint, ("", "PreferNoSchedule")) for taint in soft)


def preferred_node_affinity(pod: Pod, node: Node) -> int:
    """The sum of the weights of the terms that select the node. Source: NodeAffinity."""
    if not pod.demands.preferred_node_terms:
        return 0
    return sum(term.weight for term in pod.demands.preferred_node_terms if fits_any([term], node))


def look_images(pod: Pod, node: Node) -> dict[str, int] | None:
    """The sizes of those images of the pod that the node has."""
    if not node.images:
        return None
    return {name: node.images[name] for name in map(_with_tag, pod.demands.images) if name in node.images} or None


def count_images(
    pod: Pod, seen: Iterable[tuple[Node, dict[str, int]]], feasible: Iterable[Node]
) -> dict[str, float] | None:
    """On which share of the nodes that can be chosen each image is; what few nodes have must not draw all pods there."""
    nodes = Counter(name for _, images in seen for name in images)
    every = max(1, sum(1 for _ in feasible))
    return {name: min(1.0, number / every) for name, number in nodes.items()} or None


def rate_images(pod: Pod, node: Node, shares: dict[str, float]) -> int:
    """Rate a node by the size of what it need not pull. Source: ImageLocality."""
    names = [_with_tag(name) for name in pod.demands.images]
    size = sum(int(node.images[name] * shares.get(name, 0)) for name in names if name in node.images)
    largest = LARGE_IMAGE * len(names)
    return HIGHEST * (max(SMALL_IMAGE, min(size, largest)) - SMALL_IMAGE) // (largest - SMALL_IMAGE)


def _with_tag(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


Ratings = list[float | None]


def as_rated(ratings: Ratings) -> list[float]:
    """The ratings are from 0 to 100 already."""
    return [rating or 0 for rating in ratings]


def more_is_better(ratings: Ratings) -> list[float]:
    """The highest rating becomes 100."""
    highest = max(as_rated(ratings))
    return [HIGHEST * (rating or 0) // highest if highest else 0 for rating in ratings]


def less_is_better(ratings: Ratings) -> list[float]:
    """The highest rating becomes 0, none becomes 100."""
    return [HIGHEST - points for points in more_is_better(ratings)]


def between_extremes(ratings: Ratings) -> list[float]:
    """The highest becomes 100, the lowest 0. Source: InterPodAffinity."""
    rated = as_rated(ratings)
    lowest, highest = min(rated), max(rated)
    return [int(HIGHEST * (rating - lowest) / (highest - lowest)) if highest > lowest else 0 for rating in rated]


def fewest_first(ratings: Ratings) -> list[float]:
    """The more, the fewer points, in proportion; None earns nothing. Source: PodTopologySpread."""
    rated = [rating for rating in ratings if rating is not None]
    if not rated:
        return [0] * len(ratings)
    lowest, highest = min(rated), max(rated)
    return [0 if r is None else HIGHEST * (highest + lowest - r) // highest if highest else HIGHEST for r in ratings]
