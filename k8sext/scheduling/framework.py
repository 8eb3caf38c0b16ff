"""The framework runs the plugins of a profile for one pod: the indexed form of k8sext.scheduling.plain.

Looking at a thousand nodes for each of a thousand equal pods would be a million looks. But between two of these pods
only one node has changed: the one that got the first of them. So for each signature of pods a table is kept of what is
known of every node, and only the nodes that changed since are looked at again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from k8sext.scheduling.cache import Cache
from k8sext.scheduling.decision import Decision, Points, Rejection, select_host
from k8sext.scheduling.profiles import Profile, points
from k8sext.scheduling.scores import NodeScores
from k8sext.scheduling.snapshot import NodeInfo, PodInfo

TABLES = 32


class Row(NamedTuple):
    """What is known of one node for one signature. `base` is the sum of the points that need no NormalizeScore."""

    node: NodeInfo
    rejection: Rejection | None
    base: float
    scores: tuple[float, ...]


class Table:
    """What is known of all nodes for one signature, as of a generation of the cache."""

    def __init__(self, epoch: int, looks: Iterable[tuple[str, str]]) -> None:
        self.epoch, self.generation = epoch, 0
        self.rows: dict[str, Row] = {}
        self.feasible: dict[str, Row] = {}
        self.states: dict[tuple[str, str], dict[str, tuple[NodeInfo, Any]]] = {look: {} for look in looks}


class Framework:
    """Finds nodes by a profile. With a seed, choices among equally good nodes repeat."""

    def __init__(self, cache: Cache, profile: Profile, seed: int | None = None) -> None:
        self._cache, self._profile, self._seed = cache, profile, seed
        self._tables: OrderedDict[tuple[Any, ...], Table] = OrderedDict()
        self._looks = {("PreFilter", plugin.name): plugin.pre_filter_node for plugin in profile.pre_filters}
        self._looks |= {("PreScore", plugin.name): plugin.pre_score_node for plugin in profile.pre_scores}

    def schedule(self, pod: PodInfo) -> Decision:
        """Find the node for a pod. The rejections are complete only if no node will do."""
        table = self._table(pod)
        feasible, late = self._filter(pod, table)
        if not feasible:
            return Decision(None, _rejections(table) | late)
        totals = [row.base for row in feasible]
        for column in self._score(pod, table, feasible).values():
            totals = [total + more for total, more in zip(totals, column, strict=True)]
        highest = max(totals)
        best = [row.node.name for row, total in zip(feasible, totals, strict=True) if total == highest]
        return Decision(select_host(pod, best, self._seed), late)

    def explain(self, pod: PodInfo) -> tuple[Decision, Points]:
        """Find, with every rejection and, for each node that fits, the points of every plugin."""
        decision = self.schedule(pod)
        table = self._table(pod)
        feasible, late = self._filter(pod, table)
        columns = {
            plugin.name: [row.scores[place] * plugin.weight for row in feasible]
            for place, plugin in enumerate(self._profile.scores)
        } | (self._score(pod, table, feasible) if feasible else {})
        found = {
            row.node.name: {name: column[place] for name, column in columns.items()}
            for place, row in enumerate(feasible)
        }
        return Decision(decision.node, _rejections(table) | late), found

    def _table(self, pod: PodInfo) -> Table:
        """Return the table of this signature, brought up to date."""
        table = self._tables.pop(pod.signature, None)
        if table is None or table.epoch != self._cache.epoch:
            table = Table(self._cache.epoch, self._looks)
        for node in self._cache.changed_since(table.generation):
            self._renew(table, pod, node)
        table.generation = self._cache.generation
        self._tables[pod.signature] = table
        if len(self._tables) > TABLES:
            self._tables.popitem(last=False)
        return table

    def _renew(self, table: Table, pod: PodInfo, node: NodeInfo) -> None:
        """Look at one node again."""
        row = table.rows[node.name] = self._row(pod, node)
        if row.rejection is None:
            table.feasible[node.name] = row
        else:
            table.feasible.pop(node.name, None)
        for key, look in self._looks.items():
            if (state := look(pod, node)) is not None:
                table.states[key][node.name] = (node, state)
            else:
                table.states[key].pop(node.name, None)

    def _row(self, pod: PodInfo, node: NodeInfo) -> Row:
        for plugin in self._profile.filters:
            if reasons := plugin.filter(pod, node):
                return Row(node, Rejection(plugin.name, reasons), 0, ())
        plugins = self._profile.scores
        scores = tuple(plugin.score(pod, node) for plugin in plugins)
        base = sum(s * plugin.weight for s, plugin in zip(scores, plugins, strict=True) if not plugin.normalize_score)
        return Row(node, None, base, scores)

    def _filter(self, pod: PodInfo, table: Table) -> tuple[list[Row], dict[str, Rejection]]:
        """Return the rows that pass the filters with a PreFilter too, and the rejections of the others."""
        feasible = list(table.feasible.values())
        rejections: dict[str, Rejection] = {}
        for plugin in self._profile.pre_filters:
            state = plugin.pre_filter(pod, table.states["PreFilter", plugin.name].values())
            if state is None:
                continue
            passed: list[Row] = []
            for row in feasible:
                if reasons := plugin.filter(pod, row.node, state):
                    rejections[row.node.name] = Rejection(plugin.name, reasons)
                else:
                    passed.append(row)
            feasible = passed
        return feasible, rejections

    def _score(self, pod: PodInfo, table: Table, feasible: list[Row]) -> dict[str, list[float]]:
        """Return the points of the plugins that compare nodes; those that tell none apart are left out."""
        found: dict[str, list[float]] = {}
        for place, plugin in enumerate(self._profile.scores):
            scores: NodeScores = [row.scores[place] for row in feasible] if plugin.normalize_score else []
            if any(scores):
                found[plugin.name] = points(plugin, scores)
        nodes = [row.node for row in feasible]
        for plugin in self._profile.pre_scores:
            state = plugin.pre_score(pod, table.states["PreScore", plugin.name].values(), nodes)
            if state is not None:
                found[plugin.name] = points(plugin, [plugin.score(pod, node, state) for node in nodes])
        return found


def _rejections(table: Table) -> dict[str, Rejection]:
    return {name: row.rejection for name, row in table.rows.items() if row.rejection}
