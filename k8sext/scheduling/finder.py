"""Find a node for a pod: filter, score, choose.

Looking at a thousand nodes for each of a thousand equal pods would be a million looks. But between two of these pods only one node has
changed: the one that got the first of them. So for each sort of pod a table is kept of what is known of every node, and only the nodes
that changed since are looked at again.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from k8sext.scheduling.cache import Cache
from k8sext.scheduling.filters import Reasons
from k8sext.scheduling.profiles import Profile
from k8sext.scheduling.scores import as_rated
from k8sext.scheduling.world import Node, Pod

TABLES = 32


class Rejection(NamedTuple):
    """Which filter rejected a node, and why."""

    filter: str
    reasons: Reasons


@dataclass(frozen=True)
class Decision:
    """The node for a pod, or None and why no node will do: the rejection of each."""

    node: str | None
    rejections: dict[str, Rejection]

    @property
    def rejected_by(self) -> set[str]:
        """The filters that rejected a node."""
        return {rejection.filter for rejection in self.rejections.values()}

    @property
    def message(self) -> str:
        """The rejections in one sentence, as kube-scheduler words it."""
        if not self.rejections:
            return "no nodes available to schedule pods"
        counts = Counter(reason for rejection in self.rejections.values() for reason in rejection.reasons)
        reasons = sorted(f"{number} {reason}" for reason, number in counts.items())
        return f"0/{len(self.rejections)} nodes are available: {', '.join(reasons)}."


class Row(NamedTuple):
    """What is known of one node for one sort of pod. `base` is the sum of the scores that need no other node to compare with."""

    node: Node
    rejection: Rejection | None
    base: float
    ratings: tuple[float, ...]


class Table:
    """What is known of all nodes for one sort of pod, as of a generation of the cache."""

    def __init__(self, epoch: int, looks: Iterable[str]) -> None:
        self.epoch, self.generation = epoch, 0
        self.rows: dict[str, Row] = {}
        self.feasible: dict[str, Row] = {}
        self.seen: dict[str, dict[str, tuple[Node, Any]]] = {name: {} for name in looks}


class Finder:
    """Finds nodes by a profile. With a seed, the choice among equally good nodes depends on seed, pod and nodes only."""

    def __init__(self, cache: Cache, profile: Profile, seed: int | None = None) -> None:
        self._cache, self._profile, self._seed = cache, profile, seed
        self._tables: OrderedDict[tuple[Any, ...], Table] = OrderedDict()
        self._looks = {plugin.name: plugin.look for plugin in (*profile.topology_filters, *profile.topology_scores)}

    def find(self, pod: Pod) -> Decision:
        """Find the node for a pod."""
        table = self._table(pod)
        feasible, late = self._filter(pod, table)
        if not feasible:
            early = {name: row.rejection for name, row in table.rows.items() if row.rejection}
            return Decision(None, early | late)
        totals = [row.base for row in feasible]
        for points in self._scores(pod, table, feasible).values():
            totals = [total + more for total, more in zip(totals, points, strict=True)]
        best = max(totals)
        return Decision(
            self._choose(pod, [row.node.name for row, total in zip(feasible, totals, strict=True) if total == best]),
            late,
        )

    def explain(self, pod: Pod) -> tuple[Decision, dict[str, dict[str, float]]]:
        """Find, with every rejection and, for each node that fits, the weighted points of every score."""
        decision = self.find(pod)
        table = self._table(pod)
        feasible, late = self._filter(pod, table)
        early = {name: row.rejection for name, row in table.rows.items() if row.rejection}
        columns = {
            score.name: [row.ratings[place] * score.weight for row in feasible]
            for place, score in enumerate(self._profile.scores)
        } | (self._scores(pod, table, feasible) if feasible else {})
        points = {
            row.node.name: {name: column[place] for name, column in columns.items()}
            for place, row in enumerate(feasible)
        }
        return Decision(decision.node, early | late), points

    def _table(self, pod: Pod) -> Table:
        """Return the table of this sort of pod, brought up to date."""
        table = self._tables.pop(pod.sort, None)
        if table is None or table.epoch != self._cache.epoch:
            table = Table(self._cache.epoch, self._looks)
        for node in self._cache.changed_since(table.generation):
            self._renew(table, pod, node)
        table.generation = self._cache.generation
        self._tables[pod.sort] = table
        if len(self._tables) > TABLES:
            self._tables.popitem(last=False)
        return table

    def _renew(self, table: Table, pod: Pod, node: Node) -> None:
        """Look at one node again."""
        row = table.rows[node.name] = self._row(pod, node)
        if row.rejection is None:
            table.feasible[node.name] = row
        else:
            table.feasible.pop(node.name, None)
        for name, look in self._looks.items():
            if (seen := look(pod, node)) is not None:
                table.seen[name][node.name] = (node, seen)
            else:
                table.seen[name].pop(node.name, None)

    def _row(self, pod: Pod, node: Node) -> Row:
        for filter in self._profile.filters:
            if reasons := filter.check(pod, node):
                return Row(node, Rejection(filter.name, reasons), 0, ())
        ratings = tuple(score.rate(pod, node) for score in self._profile.scores)
        base = sum(r * s.weight for r, s in zip(ratings, self._profile.scores, strict=True) if s.scale is as_rated)
        return Row(node, None, base, ratings)

    def _filter(self, pod: Pod, table: Table) -> tuple[list[Row], dict[str, Rejection]]:
        """Return the rows that pass the topology filters too, and the rejections of the others."""
        feasible, rejections = list(table.feasible.values()), {}
        for filter in self._profile.topology_filters:
            counts = filter.count(pod, table.seen[filter.name].values())
            if counts is None:
                continue
            passed = []
            for row in feasible:
                if reasons := filter.check(pod, row.node, counts):
                    rejections[row.node.name] = Rejection(filter.name, reasons)
                else:
                    passed.append(row)
            feasible = passed
        return feasible, rejections

    def _scores(self, pod: Pod, table: Table, feasible: list[Row]) -> dict[str, list[float]]:
        """Return the weighted points of the scores that compare nodes with each other; those that tell none apart are left out."""
        points = {}
        for place, score in enumerate(self._profile.scores):
            if score.scale is not as_rated and any(ratings := [row.ratings[place] for row in feasible]):
                points[score.name] = [score.weight * p for p in score.scale([*ratings])]
        nodes = [row.node for row in feasible]
        for score in self._profile.topology_scores:
            counts = score.count(pod, table.seen[score.name].values(), nodes)
            if counts is not None:
                points[score.name] = [
                    score.weight * p for p in score.scale([score.rate(pod, n, counts) for n in nodes])
                ]
        return points

    def _choose(self, pod: Pod, best: list[str]) -> str:
        """Choose one of equally good nodes at random."""
        if self._seed is None:
            return random.choice(best)
        return random.Random(f"{self._seed} {pod.key}").choice(sorted(best))
