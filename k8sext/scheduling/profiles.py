"""Profiles: which plugins a scheduler uses at Filter and at Score, and what may change the mind of each filter.

`KUBE` is what kube-scheduler does by default, in its order and with its weights; `choose` makes one of your own from
the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from k8sext.scheduling import filters, inter_pod_affinity, pod_topology_spread, scores
from k8sext.scheduling.filters import Reasons
from k8sext.scheduling.scores import NodeScores
from k8sext.scheduling.snapshot import NodeInfo, PodInfo


class ClusterEvent(Enum):
    """What can happen in a cluster that may make room for a pod."""

    NODE_ADD = auto()
    NODE_ALLOCATABLE_CHANGE = auto()
    NODE_LABEL_CHANGE = auto()
    NODE_TAINT_CHANGE = auto()
    ASSIGNED_POD_ADD = auto()
    ASSIGNED_POD_DELETE = auto()
    NAMESPACE_CHANGE = auto()


ANY = frozenset(ClusterEvent)
NODE_ADD = frozenset({ClusterEvent.NODE_ADD})


@dataclass(frozen=True)
class FilterPlugin:
    """A function that says why a pod may not run on a node, and the events after which it may think otherwise."""

    name: str
    filter: Callable[[PodInfo, NodeInfo], Reasons]
    events: frozenset[ClusterEvent]


@dataclass(frozen=True)
class PreFilterPlugin:
    """A filter that looks at all nodes before it checks one: `pre_filter` adds up what `pre_filter_node` says of each.

    Without anything to say of a node the latter returns None; without anything to check the former does.
    """

    name: str
    pre_filter_node: Callable[[PodInfo, NodeInfo], Any]
    pre_filter: Callable[[PodInfo, Iterable[tuple[NodeInfo, Any]]], Any]
    filter: Callable[[PodInfo, NodeInfo, Any], Reasons]
    events: frozenset[ClusterEvent] = ANY


@dataclass(frozen=True)
class ScorePlugin:
    """A function that rates a node. Without `normalize_score`, its scores are from 0 to 100 already."""

    name: str
    score: Callable[[PodInfo, NodeInfo], float]
    normalize_score: Callable[[NodeScores], list[float]] | None = None
    weight: int = 1


@dataclass(frozen=True)
class PreScorePlugin:
    """A score that looks at all nodes before it rates one; it also knows which nodes passed the filters."""

    name: str
    pre_score_node: Callable[[PodInfo, NodeInfo], Any]
    pre_score: Callable[[PodInfo, Iterable[tuple[NodeInfo, Any]], Sequence[NodeInfo]], Any]
    score: Callable[[PodInfo, NodeInfo, Any], float | None]
    normalize_score: Callable[[NodeScores], list[float]] | None = None
    weight: int = 1


def points(plugin: ScorePlugin | PreScorePlugin, scores: NodeScores) -> list[float]:
    """NormalizeScore, times the weight. If a plugin tells no nodes apart and gives 0 to all, it stays at that."""
    if plugin.normalize_score and set(scores) != {0}:
        return [plugin.weight * score for score in plugin.normalize_score(scores)]
    return [plugin.weight * (score or 0) for score in scores]


FILTERS = (
    FilterPlugin("NodeName", filters.node_name, NODE_ADD),
    FilterPlugin("NodeUnschedulable", filters.node_unschedulable, NODE_ADD | {ClusterEvent.NODE_TAINT_CHANGE}),
    FilterPlugin("TaintToleration", filters.taint_toleration, NODE_ADD | {ClusterEvent.NODE_TAINT_CHANGE}),
    FilterPlugin("NodeAffinity", filters.node_affinity, NODE_ADD | {ClusterEvent.NODE_LABEL_CHANGE}),
    FilterPlugin("NodePorts", filters.node_ports, NODE_ADD | {ClusterEvent.ASSIGNED_POD_DELETE}),
    FilterPlugin(
        "NodeResourcesFit",
        filters.node_resources_fit,
        NODE_ADD | {ClusterEvent.NODE_ALLOCATABLE_CHANGE, ClusterEvent.ASSIGNED_POD_DELETE},
    ),
)
PRE_FILTERS = tuple(
    PreFilterPlugin(name, plugin.pre_filter_node, plugin.pre_filter, plugin.filter)
    for name, plugin in (("PodTopologySpread", pod_topology_spread), ("InterPodAffinity", inter_pod_affinity))
)
SCORES = (
    ScorePlugin("TaintToleration", scores.taint_toleration, scores.reverse_normalize_score, 3),
    ScorePlugin("NodeAffinity", scores.node_affinity, scores.default_normalize_score, 2),
    ScorePlugin("NodeResourcesFit", scores.least_allocated),
    ScorePlugin("NodeResourcesBalancedAllocation", scores.balanced_allocation),
)
PRE_SCORES = (
    *(
        PreScorePlugin(name, plugin.pre_score_node, plugin.pre_score, plugin.score, plugin.normalize_score, 2)
        for name, plugin in (("PodTopologySpread", pod_topology_spread), ("InterPodAffinity", inter_pod_affinity))
    ),
    PreScorePlugin("ImageLocality", scores.pre_score_node_images, scores.pre_score_images, scores.image_locality),
)
SCORING_STRATEGIES = {"LeastAllocated": scores.least_allocated, "MostAllocated": scores.most_allocated}
"""How NodeResourcesFit rates a node."""


@dataclass(frozen=True)
class Profile:
    """The plugins of a scheduler. Without any score, the choice among the nodes that fit is random."""

    filters: Sequence[FilterPlugin] = ()
    pre_filters: Sequence[PreFilterPlugin] = ()
    scores: Sequence[ScorePlugin] = ()
    pre_scores: Sequence[PreScorePlugin] = ()
    events: dict[str, frozenset[ClusterEvent]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        every = (*self.filters, *self.pre_filters)
        object.__setattr__(self, "events", {plugin.name: plugin.events for plugin in every})


KUBE = Profile(FILTERS, PRE_FILTERS, SCORES, PRE_SCORES)
FILTER_NAMES = tuple(plugin.name for plugin in (*FILTERS, *PRE_FILTERS))
SCORE_NAMES = tuple(plugin.name for plugin in (*SCORES, *PRE_SCORES))


def choose(filters: Iterable[str], weights: dict[str, int], scoring_strategy: str = "LeastAllocated") -> Profile:
    """Return a profile of these filters, in the usual order, and these scores with their weights. Raises ValueError."""
    wanted = set(filters)
    _known(wanted, FILTER_NAMES, "filter")
    _known(set(weights), SCORE_NAMES, "score")
    _known({scoring_strategy}, tuple(SCORING_STRATEGIES), "scoring strategy")
    strategy = {"NodeResourcesFit": SCORING_STRATEGIES[scoring_strategy]}
    return Profile(
        [plugin for plugin in FILTERS if plugin.name in wanted],
        [plugin for plugin in PRE_FILTERS if plugin.name in wanted],
        [
            replace(plugin, weight=weights[plugin.name], score=strategy.get(plugin.name, plugin.score))
            for plugin in SCORES
            if plugin.name in weights
        ],
        [replace(plugin, weight=weights[plugin.name]) for plugin in PRE_SCORES if plugin.name in weights],
    )


def _known(names: set[str], known: Sequence[str], what: str) -> None:
    if strange := sorted(names - set(known)):
        raise ValueError(f"there is no {what} {strange[0]!r}: choose of {', '.join(known)}")
