"""What the kind cluster is to be: the same nodes as the embedded one, in the words of kind's and kubeadm's
configuration.

Formats: https://kind.sigs.k8s.io/docs/user/configuration/ and
https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k8sext.cluster import node_specs
from k8sext.infra.nodes import NodeSpec

NAME = "k8sext"


def cluster(port: int, mounts: Mapping[str, Mapping[str, Path]]) -> str:
    """kind's configuration (YAML), with the API server at this port; mounts says what of this machine each node sees
    where."""
    from k8sext.kube.manifest import to_yaml

    content = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1", "apiServerPort": port},
        "nodes": [_node(spec, mounts[spec.name]) for spec in node_specs.defaults()],
    }
    return to_yaml(content)


def _node(spec: NodeSpec, seen: Mapping[str, Path]) -> dict[str, Any]:
    patches = [
        _yaml(
            "InitConfiguration" if spec.is_control_plane else "JoinConfiguration", nodeRegistration={"name": spec.name}
        )
    ]
    if spec.is_control_plane:
        patches.append(_yaml("ClusterConfiguration", controllerManager={"extraArgs": _PATIENCE}))
        # As in the embedded cluster: a node names no images, or a scheduler would count how large they happen to be.
        patches.append(_yaml("KubeletConfiguration", nodeStatusMaxImages=0))
    return {
        "role": "control-plane" if spec.is_control_plane else "worker",
        "labels": spec.labels,
        "extraMounts": [
            {"hostPath": str(here), "containerPath": there, "readOnly": True} for there, here in seen.items()
        ],
        "kubeadmConfigPatches": patches,
    }


# A stopped node is NotReady as soon as in the embedded cluster. (A patch replaces a list, so kind's own entry is
# repeated.)
_PATIENCE = [
    {"name": "enable-hostpath-provisioner", "value": "true"},
    {"name": "node-monitor-grace-period", "value": "12s"},
    {"name": "node-monitor-period", "value": "2s"},
]


def _yaml(kind: str, **content: Any) -> str:
    from k8sext.kube.manifest import to_yaml

    return to_yaml({"kind": kind, **content})


def container(cluster: str, node: str) -> str:
    """The name of a node's container: kind begins it with the cluster's name, where the node's own begins with
    `k8sext`.

    Nodes that were added later have a dot there, so that no two names can be the same.
    """
    made_by_kind = any(node == spec.name for spec in node_specs.defaults())
    return cluster + node.removeprefix(NAME) if made_by_kind else f"{cluster}.{node}"


def renamed(text: str, name: str) -> str:
    """A kubeconfig of one cluster, user and context (YAML), all of them called name, as the embedded cluster has it."""
    import yaml

    from k8sext.kube.manifest import to_yaml

    content = yaml.safe_load(text)
    for section in ("clusters", "users", "contexts"):
        content[section][0]["name"] = name
    content["contexts"][0]["context"] = {"cluster": name, "user": name}
    content["current-context"] = name
    return to_yaml(content)
