"""What the kind cluster is to be: the same nodes as the embedded one, in the words of kind's and kubeadm's configuration.

Formats: https://kind.sigs.k8s.io/docs/user/configuration/ and https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k8sext.cluster import nodes
from k8sext.cluster.desired_nodes import CONTROL_PLANE

NAME = "k8sext"


def cluster(port: int, mounts: Mapping[str, Mapping[str, Path]]) -> str:
    """kind's configuration (YAML), with the API server at this port; mounts says what of this machine each node sees where."""
    import yaml

    content = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1", "apiServerPort": port},
        "nodes": [_node(entry, mounts[entry["name"]]) for entry in nodes.defaults()],
    }
    return yaml.safe_dump(content, sort_keys=False)


def _node(entry: dict[str, Any], seen: Mapping[str, Path]) -> dict[str, Any]:
    control_plane = is_control_plane(entry)
    patches = [
        _yaml("InitConfiguration" if control_plane else "JoinConfiguration", nodeRegistration={"name": entry["name"]})
    ]
    if control_plane:
        patches.append(_yaml("ClusterConfiguration", controllerManager={"extraArgs": _PATIENCE}))
        # As in the embedded cluster: a node names no images, or a scheduler would count how large they happen to be.
        patches.append(_yaml("KubeletConfiguration", nodeStatusMaxImages=0))
    return {
        "role": "control-plane" if control_plane else "worker",
        "labels": entry["labels"],
        "extraMounts": [
            {"hostPath": str(here), "containerPath": there, "readOnly": True} for there, here in seen.items()
        ],
        "kubeadmConfigPatches": patches,
    }


# A stopped node is NotReady as soon as in the embedded cluster. (A patch replaces a list, so kind's own entry is repeated.)
_PATIENCE = [
    {"name": "enable-hostpath-provisioner", "value": "true"},
    {"name": "node-monitor-grace-period", "value": "12s"},
    {"name": "node-monitor-period", "value": "2s"},
]


def _yaml(kind: str, **content: Any) -> str:
    import yaml

    return yaml.safe_dump({"kind": kind, **content}, sort_keys=False)


def is_control_plane(entry: dict[str, Any]) -> bool:
    """Whether a node of the plan carries the control plane's taint."""
    return any(taint["key"] == CONTROL_PLANE for taint in entry["taints"])


def container(cluster: str, node: str) -> str:
    """The name of a node's container: kind begins it with the cluster's name, where the node's own begins with `k8sext`.

    Nodes that were added later have a dot there, so that no two names can be the same.
    """
    made_by_kind = any(node == entry["name"] for entry in nodes.defaults())
    return cluster + node.removeprefix(NAME) if made_by_kind else f"{cluster}.{node}"
