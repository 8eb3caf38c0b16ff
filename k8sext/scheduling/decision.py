"""A decision: the node for a pod, or why no node will do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from k8sext.scheduling.filters import Reasons
from k8sext.scheduling.snapshot import PodInfo

Points = dict[str, dict[str, float]]
"""By node that passed the filters, then by plugin: normalized score times weight."""


class Rejection(NamedTuple):
    """Which plugin rejected a node at Filter, and why."""

    plugin: str
    reasons: Reasons


@dataclass(frozen=True)
class Decision:
    """The node for a pod, or None and why no node will do: the rejection of each."""

    node: str | None
    rejections: dict[str, Rejection]

    @property
    def unschedulable_plugins(self) -> set[str]:
        """The plugins that rejected a node."""
        return {rejection.plugin for rejection in self.rejections.values()}

    @property
    def message(self) -> str:
        """The rejections in one sentence, as kube-scheduler words it."""
        if not self.rejections:
            return "no nodes available to schedule pods"
        counts = Counter(reason for rejection in self.rejections.values() for reason in rejection.reasons)
        reasons = sorted(f"{number} {reason}" for reason, number in counts.items())
        return f"0/{len(self.rejections)} nodes are available: {', '.join(reasons)}."


def select_host(pod: PodInfo, best: Sequence[str], seed: int | None) -> str:
    """Choose one of equally good nodes at random; with a seed, the choice depends on seed, pod and nodes only."""
    if seed is None:
        return random.choice(best)
    return random.Random(f"{seed} {pod.key}").choice(sorted(best))
