"""Reading nodes.json and Node objects: the part that the supervisor needs. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from k8sext.cluster.paths import Layout, read_json

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def role_label(layout: Layout, name: str) -> str | None:
    """The label with a node's role: that of the control plane for a node with its taint, none for a worker."""
    for entry in read_json(layout.nodes_file).get("nodes", []):
        if entry["name"] == name and any(taint["key"] == CONTROL_PLANE for taint in entry["taints"]):
            return CONTROL_PLANE
    return None


def light_count(layout: Layout) -> int:
    """How many nodes there should be that only register and hold leases."""
    return read_json(layout.nodes_file).get("light", {}).get("count", 0)


def wanted(layout: Layout) -> list[str]:
    """The names of the nodes that should be running."""
    return [entry["name"] for entry in read_json(layout.nodes_file).get("nodes", []) if entry["state"] == "running"]


def is_ready(node_object: Mapping[str, Any]) -> bool:
    """Whether a Node object says Ready."""
    conditions = node_object.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def takes_pods(node_object: Mapping[str, Any]) -> bool:
    """Whether a Node is Ready, and the control plane has taken the taints off that it puts on nodes which are not."""
    taints = {taint["key"] for taint in node_object.get("spec", {}).get("taints", [])}
    return is_ready(node_object) and not taints & {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
