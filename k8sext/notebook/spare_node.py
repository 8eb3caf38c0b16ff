"""The files of one more node, for a kubelet that a lesson starts by itself beside the cluster's own."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from k8sext import files
from k8sext.cluster import ports
from k8sext.infra import nodes
from k8sext.infra.nodes import NodeSpec
from k8sext.kube import certificates

NODE = NodeSpec("spare", 250, taints=[{"key": "k8sext.io/spare", "value": "", "effect": "NoSchedule"}])
_reserved: list[socket.socket] = []
"""Keeps the blocks of loopback addresses until the notebook's kernel ends."""


def write(folder: Path) -> str:
    """Write into `folder` what `python -m k8sext.infra.kubelet` wants of a node `spare`: nodes.json, ca.crt and
    nodes/spare.

    Returns the free block of loopback addresses for its `--loopback`. The kubelet acts with the rights of the
    notebook's own kubeconfig ($KUBECONFIG); a taint keeps away pods that do not name the node themselves. Raises
    ClusterError when no block is free.
    """
    home = folder / "nodes" / NODE.name
    home.mkdir(parents=True, exist_ok=True)
    nodes.write(folder / "nodes.json", nodes.Nodes({NODE.name: NODE}))
    ca = certificates.authority(NODE.name)
    files.replace(folder / "ca.crt", ca.certificate, mode=0o600)
    certificates.issue(ca, f"system:node:{NODE.name}", hosts=[NODE.ip]).save(home, "kubelet")
    shutil.copy(os.environ["KUBECONFIG"], home / "kubeconfig")
    loopback, reservation = ports.reserve_loopback_block()
    _reserved.append(reservation)
    return loopback
