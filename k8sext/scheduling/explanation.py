"""Explain a decision: which node lost by what, and how many points each of the others got.

On a pod with the annotation `scheduling.k8sext.io/explain: "true"` the scheduler writes the tables down itself, as
annotations (the idea is kube-scheduler-simulator's); `explain` makes them for any pod and any set of nodes, without a
cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from k8sext.kube.objects import Json, part
from k8sext.scheduling import plain
from k8sext.scheduling.cache import Cache
from k8sext.scheduling.decision import Decision, Points
from k8sext.scheduling.profiles import KUBE, Profile
from k8sext.scheduling.snapshot import PodInfo

PREFIX = "scheduling.k8sext.io"
ASK = f"{PREFIX}/explain"


@dataclass(frozen=True)
class Explanation:
    """A decision with its reasons. Printed, it is a table."""

    pod: str
    decision: Decision
    points: Points

    def rows(self) -> list[tuple[str, str, str]]:
        """Node, verdict and reason of every node: the chosen one first, then by points, then the rejected ones."""
        totals = {name: sum(points.values()) for name, points in self.points.items()}
        rows: list[tuple[str, str, str]] = []
        for name in sorted(totals, key=lambda name: (name != self.decision.node, -totals[name], name)):
            verdict = "chosen" if name == self.decision.node else "fits"
            details = ", ".join(f"{plugin} {points:g}" for plugin, points in self.points[name].items() if points)
            rows.append((name, verdict, f"{totals[name]:g} points: {details}" if details else "random"))
        for name, (plugin, reasons) in sorted(self.decision.rejections.items()):
            rows.append((name, "rejected", f"{plugin}: {', '.join(reasons)}"))
        return rows

    def __repr__(self) -> str:
        rows = [("NODE", "VERDICT", "BECAUSE"), *self.rows()]
        wide, middle = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{name:{wide}}  {verdict:{middle}}  {because}" for name, verdict, because in rows)

    def annotations(self) -> dict[str, str]:
        """The explanation as annotations of the pod."""
        rejections = {name: f"{r.plugin}: {', '.join(r.reasons)}" for name, r in self.decision.rejections.items()}
        return {
            f"{PREFIX}/filters": json.dumps(rejections, sort_keys=True),
            f"{PREFIX}/scores": json.dumps(self.points, sort_keys=True),
            f"{PREFIX}/node": self.decision.node or "",
        }


def wants_explanation(pod: PodInfo) -> bool:
    """Whether a pod asks for the tables."""
    return part(pod.item["metadata"], "annotations").get(ASK) == "true"


def explain(
    pod: Json,
    nodes: Iterable[Json],
    pods: Iterable[Json] = (),
    *,
    namespaces: Iterable[Json] = (),
    profile: Profile = KUBE,
    seed: int | None = 0,
) -> Explanation:
    """Say where a pod would go among these nodes with these pods on them, all given as JSON, and why.

    The pod is judged as if it were not placed yet. Raises ValueError when one of the objects cannot be read.
    """
    cache = Cache()
    for namespace in namespaces:
        cache.set_namespace(namespace["metadata"]["name"], namespace["metadata"].get("labels") or {})
    for node in nodes:
        cache.set_node(node)
    spec = {field: value for field, value in pod["spec"].items() if field != "nodeName"}
    incoming = cache.read({**pod, "spec": spec})
    for other in map(cache.read, pods):
        ended = other.item.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if other.node_name and other.key != incoming.key and not ended:
            cache.set_pod(other)
    return Explanation(incoming.key, *plain.schedule(incoming, list(cache.nodes.values()), profile, seed))
