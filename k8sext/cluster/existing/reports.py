"""What can be said of a cluster that others run: whether its API server answers, and its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from k8sext.cluster.desired_nodes import is_ready
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.existing.target import Target
from k8sext.cluster.paths import Layout


def status(layout: Layout) -> dict[str, Any]:
    """As k8sext.cluster.embedded.status: the API server and the nodes, as the notebooks' account sees them."""
    found = layout.read_config()
    made = bool(found.get("made"))
    return {
        "name": layout.name,
        "phase": "ready" if made else "down",
        "version": found.get("version") if made else None,
        "server": found.get("server") if made else None,
        "pid": None,
        "data": str(layout.data),
        "components": _components(layout, found) if made else [],
    }


def _components(layout: Layout, found: dict[str, Any]) -> list[dict[str, Any]]:
    target = Target(Path(found["programs"]["kubectl"]), str(layout.kubeconfig), found["name"], layout.kubectl_cache)
    try:
        nodes = target.json("nodes")["items"]
    except ClusterError as error:
        return [_row("kube-apiserver", found["version"], f"not well: {error}")]
    rows = [_row("kube-apiserver", found["version"], "ok")]
    for node in nodes:
        version = node["status"]["nodeInfo"]["kubeletVersion"]
        rows.append(_row(node["metadata"]["name"], version, "ok" if is_ready(node) else "not ready"))
    return rows


def _row(name: str, version: str, health: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "pid": None,
        "port": None,
        "memory": None,
        "health": health,
        "restarts": 0,
    }
