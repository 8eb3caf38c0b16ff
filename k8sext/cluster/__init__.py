"""A cluster for the workbook, from one of several providers, behind one interface.

    with k8sext.cluster.up(name="test") as cluster:
        cluster.kubectl("get", "namespaces")

`up` starts or finds the cluster, `connect` does the same for a notebook, `private_api_server` starts a throwaway control plane for
lessons that need API-server flags. The provider `embedded` (Linux) needs neither Docker nor root.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout, layout
from k8sext.cluster.private import PrivateApiServer, private_api_server

__all__ = [
    "Cluster",
    "ClusterError",
    "PrivateApiServer",
    "connect",
    "down",
    "environment",
    "private_api_server",
    "status",
    "up",
]

PROVIDERS = ("embedded",)


@dataclass(frozen=True)
class Cluster:
    """A running cluster. Used as a context manager, it stops at the end of the block if up() started it."""

    name: str
    provider: str
    layout: Layout
    # Where the control plane reaches a server that listens in this process.
    callback_host: str = "127.0.0.1"
    started_here: bool = field(default=False, compare=False)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    @property
    def server(self) -> str:
        """The API server's address, as https://127.0.0.1:6443."""
        return self.layout.read_config()["server"]

    @property
    def programs(self) -> dict[str, Path]:
        """The programs it runs on, kubectl among them, by name."""
        return {name: Path(path) for name, path in self.layout.read_config()["programs"].items()}

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """What kubectl prints. Raises ClusterError with kubectl's own message when it fails."""
        done = subprocess.run(
            ["kubectl", *arguments],
            input=input,
            capture_output=True,
            text=True,
            env={**os.environ, **environment(self)},
        )
        if done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """What runs in it, asked now; see k8sext.cluster.embedded.status."""
        return status(self.layout)

    def down(self) -> None:
        """Stop it and remove its files."""
        down(self.layout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.started_here:
            self.down()


def up(
    name: str | None = None,
    data: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    light_nodes: int | None = None,
    provider: str | None = None,
    progress: Any = None,
) -> Cluster:
    """Start the cluster called name (default $K8SEXT_CLUSTER, else k8sext) or find it running.

    data is a folder for its files, port the API server's; both are chosen unless given. light_nodes join beside the three nodes that
    run pods, and only register. progress hears of long work (see
    k8sext.cluster.programs.progress). Raises ClusterError.
    """
    from k8sext.cluster import embedded
    from k8sext.cluster.programs.progress import Progress

    provider = provider or os.environ.get("K8SEXT_PROVIDER") or "embedded"
    if provider not in PROVIDERS:
        raise ClusterError(f"There is no provider {provider!r}: choose one of {', '.join(PROVIDERS)}.")
    where = layout(name, data)
    started = embedded.up(where, progress or Progress(), port, light_nodes)
    return Cluster(where.name, provider, where, started_here=started)


def connect(name: str | None = None, data: str | os.PathLike[str] | None = None, progress: Any = None) -> Cluster:
    """The learner's cluster for a notebook: found running, or started. Leaving it does not stop it. Raises ClusterError."""
    found = up(name, data, progress=progress)
    return Cluster(found.name, found.provider, found.layout)


def down(where: Layout) -> bool:
    """Stop a cluster and remove its files; returns whether there was anything to do."""
    from k8sext.cluster import embedded

    return embedded.down(where)


def status(where: Layout) -> dict[str, Any]:
    """What runs in a cluster, asked now."""
    from k8sext.cluster import embedded

    return embedded.status(where)


def environment(cluster: Cluster) -> dict[str, str]:
    """What a child process needs so that `kubectl` is the cluster's own and talks to it, past any proxy.

    The programs of this Python environment (kubectl plugins among them) come second on PATH.
    """
    import sysconfig

    kubectl = cluster.programs["kubectl"].parent
    path = [str(kubectl), sysconfig.get_path("scripts"), *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    direct = [*filter(None, os.environ.get("NO_PROXY", "").split(",")), "127.0.0.1", "localhost"]
    return {
        "KUBECONFIG": str(cluster.kubeconfig),
        "KUBECACHEDIR": str(cluster.layout.kubectl_cache),
        "PATH": os.pathsep.join(dict.fromkeys(path)),
        "NO_PROXY": ",".join(dict.fromkeys(direct)),
        "no_proxy": ",".join(dict.fromkeys(direct)),
    }
