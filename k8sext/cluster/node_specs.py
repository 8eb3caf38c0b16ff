"""Nodes in words: the default ones, and those that a command line describes. Every provider has the same.

Names, labels and taints are those of a kind cluster, so that lessons read the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from k8sext.cluster.errors import ClusterError
from k8sext.infra.nodes import CAPACITY, CONTROL_PLANE, NodeSpec
from k8sext.kube.quantity import parse

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def node(
    name: str,
    index: int,
    zone: str,
    *,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    capacity: Mapping[str, str] | None = None,
) -> NodeSpec:
    """A node in a zone; its region is what stands before the zone's last dash."""
    place = {
        "topology.kubernetes.io/region": zone.rpartition("-")[0] or zone,
        "topology.kubernetes.io/zone": zone,
        "node.kubernetes.io/instance-type": "k8sext.medium",
    }
    return NodeSpec(
        name,
        index,
        labels={**place, **(labels or {})},
        taints=[dict(taint) for taint in taints],
        capacity={**CAPACITY, **(capacity or {})},
    )


def defaults() -> tuple[NodeSpec, ...]:
    """A control-plane node with its usual taint, and two workers in two zones."""
    taint = {"key": CONTROL_PLANE, "effect": "NoSchedule"}
    return (
        node("k8sext-control-plane", 0, "lab-a", taints=[taint]),
        node("k8sext-worker", 1, "lab-a"),
        node("k8sext-worker2", 2, "lab-b"),
    )


def described(
    name: str, index: int, zone: str, labels: Sequence[str], taints: Sequence[str], capacity: Sequence[str]
) -> NodeSpec:
    """A node in the words of the command line (see add). Raises ClusterError."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise ClusterError(f"{name!r} cannot be a node's name: use small letters, digits and dashes.")
    if name.partition("-")[0] == "fake":
        raise ClusterError(f"{name!r} cannot be a node's name: names with fake belong to those of `k8sext up --nodes`.")
    return node(
        name,
        index,
        zone,
        labels=dict(map(_label, labels)),
        taints=[*map(_taint, taints)],
        capacity=dict(map(_amount, capacity)),
    )


def place_labels(spec: NodeSpec) -> dict[str, str]:
    """The labels that say where a node stands and what it is; every node has them."""
    return {key: spec.labels[key] for key in node("", 0, "lab-a").labels}


def _label(text: str) -> tuple[str, str]:
    key, value = _pair(text)
    name = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
    if not re.fullmatch(rf"([a-z0-9.-]{{1,253}}/)?{name}", key) or not re.fullmatch(rf"({name})?", value):
        raise ClusterError(
            f"{text!r} is no label: up to 63 letters, digits, dashes, dots and underscores on each side, as in "
            "disk=ssd."
        )
    return key, value


def _taint(text: str) -> dict[str, str]:
    match = re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(\w+)", text)
    if match is None or match[3] not in EFFECTS:
        raise ClusterError(f"{text!r} is no taint: write KEY=VALUE:EFFECT, and as effect one of {', '.join(EFFECTS)}.")
    return {"key": match[1], **({"value": match[2]} if match[2] else {}), "effect": match[3]}


def _amount(text: str) -> tuple[str, str]:
    key, value = _pair(text)
    try:
        if parse(value) >= 0:
            return key, value
    except ValueError:
        pass
    raise ClusterError(f"{value!r} is no amount of {key}: write a quantity of Kubernetes, as 2, 500m or 8Gi.")


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ClusterError(f"{text!r} is not of the form KEY=VALUE.")
    return key, value
