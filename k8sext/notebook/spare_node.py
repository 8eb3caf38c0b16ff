"""The files of one more node, for a kubelet that a lesson starts by itself beside the cluster's own."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

from k8sext.cluster import ports
from k8sext.kube import certificates

NAME = "spare"
INDEX = 250
CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "20Gi"}
TAINT = {"key": "k8sext.io/spare", "value": "", "effect": "NoSchedule"}
_reserved: list[socket.socket] = []
"""Keeps the blocks of loopback addresses until the notebook's kernel ends."""


def write(folder: Path) -> str:
    """Write into `folder` what `python -m k8sext.infra.kubelet` wants of a node `spare`: nodes.json, ca.crt and nodes/spare.

    Returns the free block of loopback addresses for its `--loopback`. The kubelet acts with the rights of the notebook's own kubeconfig
    ($KUBECONFIG); a taint keeps away pods that do not name the node themselves. Raises ClusterError when no block is free.
    """
    home = folder / "nodes" / NAME
    home.mkdir(parents=True, exist_ok=True)
    spec = {"name": NAME, "index": INDEX, "state": "running", "taints": [TAINT], "capacity": CAPACITY}
    (folder / "nodes.json").write_text(json.dumps({"nodes": [spec]}))
    ca = certificates.authority(NAME)
    certificates.write_private(folder / "ca.crt", ca.certificate)
    certificates.issue(ca, f"system:node:{NAME}", hosts=[f"10.244.{INDEX}.1"]).save(home, "kubelet")
    shutil.copy(os.environ["KUBECONFIG"], home / "kubeconfig")
    loopback, reservation = ports.reserve_loopback_block()
    _reserved.append(reservation)
    return loopback
