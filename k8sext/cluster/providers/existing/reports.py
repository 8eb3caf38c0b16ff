"""What can be said of a cluster that others run: whether its API server answers, and its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout
from k8sext.cluster.providers.existing.target import Target
from k8sext.cluster.report import component, report
from k8sext.infra.nodes import is_ready


def status(layout: Layout) -> dict[str, Any]:
    """As k8sext.cluster.report: the API server and the nodes, as the notebooks' account sees them."""
    found = layout.read_config()
    if not found.get("made"):
        return report(layout, "down")
    rows = _components(layout, found)
    return report(layout, "ready", version=found.get("version"), server=found.get("server"), components=rows)


def _components(layout: Layout, found: dict[str, Any]) -> list[dict[str, Any]]:
    target = Target(Path(found["programs"]["kubectl"]), str(layout.kubeconfig), found["name"], layout.kubectl_cache)
    try:
        nodes = target.json("nodes")["items"]
    except ClusterError as error:
        return [component("kube-apiserver", found["version"], f"not well: {error}")]
    rows = [component("kube-apiserver", found["version"], "ok")]
    for node in nodes:
        version = node["status"]["nodeInfo"]["kubeletVersion"]
        rows.append(component(node["metadata"]["name"], version, "ok" if is_ready(node) else "not ready"))
    return rows
