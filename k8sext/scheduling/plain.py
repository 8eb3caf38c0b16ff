"""The plain form of a scheduler: for each pod, ask each plugin about each node.

    PreFilter, Filter                   on which nodes may the pod run?     filter_nodes
    PreScore, Score, NormalizeScore     how good is each of those?          score_nodes

It is right, and it is slow: for a thousand pods and a thousand nodes it asks each plugin a million times. The scheduler
uses the indexed form, k8sext.scheduling.framework. That one keeps what the plugins said of each node, for all pods that
are alike, and asks again only about nodes that have changed since: usually one, which got the last pod. A property test
holds it to the answers of this form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from k8sext.scheduling.decision import Decision, Points, Rejection, select_host
from k8sext.scheduling.profiles import Profile, points
from k8sext.scheduling.snapshot import NodeInfo, PodInfo

Nodes = Sequence[NodeInfo]


def schedule(pod: PodInfo, nodes: Nodes, profile: Profile, seed: int | None = None) -> tuple[Decision, Points]:
    """Find the node for a pod among these nodes with the pods that are on them."""
    rejections = filter_nodes(pod, nodes, profile)
    feasible = [node for node in nodes if node.name not in rejections]
    if not feasible:
        return Decision(None, rejections), {}
    found = score_nodes(pod, nodes, feasible, profile)
    totals = {name: sum(parts.values()) for name, parts in found.items()}
    highest = max(totals.values())
    best = [name for name, total in totals.items() if total == highest]
    return Decision(select_host(pod, best, seed), rejections), found


def filter_nodes(pod: PodInfo, nodes: Nodes, profile: Profile) -> dict[str, Rejection]:
    """Return why the nodes that do not pass fail: the first filter that objects is the one named."""
    states = {p.name: p.pre_filter(pod, _look(pod, nodes, p.pre_filter_node)) for p in profile.pre_filters}

    def reject(node: NodeInfo) -> Rejection | None:
        for plugin in profile.filters:
            if reasons := plugin.filter(pod, node):
                return Rejection(plugin.name, reasons)
        for plugin in profile.pre_filters:
            state = states[plugin.name]
            if state is not None and (reasons := plugin.filter(pod, node, state)):
                return Rejection(plugin.name, reasons)
        return None

    return {node.name: rejection for node in nodes if (rejection := reject(node))}


def score_nodes(pod: PodInfo, nodes: Nodes, feasible: Nodes, profile: Profile) -> Points:
    """Return the points that each plugin gives to each of the nodes that passed."""
    columns = {p.name: points(p, [p.score(pod, node) for node in feasible]) for p in profile.scores}
    for plugin in profile.pre_scores:
        state = plugin.pre_score(pod, _look(pod, nodes, plugin.pre_score_node), feasible)
        if state is not None:
            columns[plugin.name] = points(plugin, [plugin.score(pod, node, state) for node in feasible])
    return {node.name: {name: column[place] for name, column in columns.items()} for place, node in enumerate(feasible)}


def _look(pod: PodInfo, nodes: Nodes, at: Callable[[PodInfo, NodeInfo], Any]) -> list[tuple[NodeInfo, Any]]:
    """Look at every node; those of which there is nothing to say are left out."""
    return [(node, state) for node in nodes if (state := at(pod, node)) is not None]
