"""Profiles: which filters and scores a scheduler uses, and what may change the mind of each filter.

`KUBE` is what kube-scheduler does by default, in its order and with its weights; `choose` makes one of your own from the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from k8sext.scheduling import affinity, filters, scores, spread
from k8sext.scheduling.filters import Reasons
from k8sext.scheduling.world import Node, Pod


class Change(Enum):
    """What can happen in a cluster that may make room for a pod."""

    NODE_CAME = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABELS = auto()
    NODE_TAINTS = auto()
    POD_CAME = auto()
    POD_GONE = auto()
    NAMESPACE = auto()


ANY = frozenset(Change)


@dataclass(frozen=True)
class Filter:
    """A function that says why a pod may not run on a node, and the changes after which it may think otherwise."""

    name: str
    check: Callable[[Pod, Node], Reasons]
    helped_by: frozenset[Change]


@dataclass(frozen=True)
class TopologyFilter:
    """A filter that looks at all nodes before it checks one."""

    name: str
    look: Callable[[Pod, Node], Any]
    count: Callable[[Pod, Iterable[tuple[Node, Any]]], Any]
    check: Callable[[Pod, Node, Any], Reasons]
    helped_by: frozenset[Change] = ANY


@dataclass(frozen=True)
class Score:
    """A function that rates a node, the scale for its ratings, and the weight among other scores."""

    name: str
    rate: Callable[[Pod, Node], float]
    scale: Callable[[scores.Ratings], list[float]] = scores.as_rated
    weight: int = 1


@dataclass(frozen=True)
class TopologyScore:
    """A score that looks at all nodes before it rates one."""

    name: str
    look: Callable[[Pod, Node], Any]
    count: Callable[[Pod, Iterable[tuple[Node, Any]], Iterable[Node]], Any]
    rate: Callable[[Pod, Node, Any], float | None]
    scale: Callable[[scores.Ratings], list[float]]
    weight: int = 1


FILTERS = (
    Filter("node-name", filters.node_name, frozenset({Change.NODE_CAME})),
    Filter("unschedulable", filters.unschedulable, frozenset({Change.NODE_CAME, Change.NODE_TAINTS})),
    Filter("taints", filters.taints, frozenset({Change.NODE_CAME, Change.NODE_TAINTS})),
    Filter("node-affinity", filters.node_affinity, frozenset({Change.NODE_CAME, Change.NODE_LABELS})),
    Filter("host-ports", filters.host_ports, frozenset({Change.NODE_CAME, Change.POD_GONE})),
    Filter("resources", filters.resources, frozenset({Change.NODE_CAME, Change.NODE_ALLOCATABLE, Change.POD_GONE})),
)
TOPOLOGY_FILTERS = (
    TopologyFilter("spread", spread.look, spread.count, spread.check),
    TopologyFilter("pod-affinity", affinity.look, affinity.count, affinity.check),
)
SCORES = (
    Score("taint-preference", scores.taint_preference, scores.less_is_better, 3),
    Score("preferred-node-affinity", scores.preferred_node_affinity, scores.more_is_better, 2),
    Score("least-allocated", scores.least_allocated),
    Score("balanced", scores.balanced),
)
PACKING = Score("most-allocated", scores.most_allocated)
TOPOLOGY_SCORES = (
    TopologyScore(
        "preferred-spread", spread.look_preferred, spread.count_preferred, spread.rate_preferred, scores.fewest_first, 2
    ),
    TopologyScore(
        "preferred-pod-affinity",
        affinity.look_preferred,
        affinity.count_preferred,
        affinity.rate_preferred,
        scores.between_extremes,
        2,
    ),
    TopologyScore("image-locality", scores.look_images, scores.count_images, scores.rate_images, scores.as_rated),
)


@dataclass(frozen=True)
class Profile:
    """The filters and scores of a scheduler. Without any score, the choice among the nodes that fit is random."""

    filters: Sequence[Filter] = ()
    topology_filters: Sequence[TopologyFilter] = ()
    scores: Sequence[Score] = ()
    topology_scores: Sequence[TopologyScore] = ()
    helped_by: dict[str, frozenset[Change]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        every = (*self.filters, *self.topology_filters)
        object.__setattr__(self, "helped_by", {filter.name: filter.helped_by for filter in every})


KUBE = Profile(FILTERS, TOPOLOGY_FILTERS, SCORES, TOPOLOGY_SCORES)
FILTER_NAMES = tuple(filter.name for filter in (*FILTERS, *TOPOLOGY_FILTERS))
SCORE_NAMES = tuple(score.name for score in (*SCORES, PACKING, *TOPOLOGY_SCORES))


def choose(filter_names: Iterable[str], weights: dict[str, int]) -> Profile:
    """Return a profile of these filters, in the usual order, and these scores with their weights. Raises ValueError."""
    wanted = set(filter_names)
    _known(wanted, FILTER_NAMES, "filter")
    _known(set(weights), SCORE_NAMES, "score")
    return Profile(
        [filter for filter in FILTERS if filter.name in wanted],
        [filter for filter in TOPOLOGY_FILTERS if filter.name in wanted],
        [replace(s, weight=weights[s.name]) for s in (*SCORES, PACKING) if s.name in weights],
        [replace(s, weight=weights[s.name]) for s in TOPOLOGY_SCORES if s.name in weights],
    )


def _known(names: set[str], known: Sequence[str], what: str) -> None:
    if strange := sorted(names - set(known)):
        raise ValueError(f"there is no {what} {strange[0]!r}: choose of {', '.join(known)}")
