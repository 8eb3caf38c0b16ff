"""The kubelet's configuration: what the command line decides, for every node that this process runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from k8sext.infra.kubelet.paths import Paths


@dataclass(frozen=True)
class Config:
    """Named as the options of the command line; times are in seconds."""

    nodes: Path
    """The file with the wanted nodes (k8sext.infra.nodes)."""
    root_dir: Path
    """Holds a folder for each node, and in it kubeconfig, kubelet.crt and kubelet.key; the kubelet keeps its files
    there."""
    socket_dir: Path
    loopback: str
    """127.X: the block of loopback addresses that stands for the pod network."""
    client_ca_file: Path
    runtime_endpoint: str = ""
    """Another runtime than the one of the cluster, for a file with one node."""
    sync_frequency: float = 60.0
    crash_loop_base: float = 10.0
    crash_loop_limit: float = 300.0

    @property
    def pods_proxy(self) -> Path:
        """The socket of the proxy to pods that have a network of their own."""
        return self.socket_dir / "pods.sock"

    def endpoint(self, node: str) -> str:
        """The runtime of a node."""
        return self.runtime_endpoint or f"unix://{self.socket_dir}/cri-{node}.sock"

    def paths(self, node: str) -> Paths:
        return Paths(self.root_dir / node / "kubelet", self.socket_dir / f"csi-{node}")

    def pod_logs(self, node: str) -> Path:
        return self.root_dir / node / "pods"
