"""A cluster for the workbook, from one of several providers, behind one interface.

    with k8sext.cluster.up(name="test") as cluster:
        cluster.kubectl("get", "namespaces")

`up` starts or finds the cluster, `connect` does the same for a notebook, `private_api_server` starts a throwaway API
server for lessons that need flags. In Kubernetes' words:

    control plane, its flags             components, providers/embedded/control_plane
    kubeadm init, kind create cluster    providers/*/__init__.up
    static pods (restarted when killed)  providers/embedded/supervisor
    konnectivity, egress selector        providers/embedded/relay
    node (join, drain of power, delete)  node_specs, providers/embedded/nodes, providers/kind/extra_nodes
    kubeconfig, PKI                      providers/embedded/__init__._certificates, k8sext.kube.certificates
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from k8sext.cluster import kubectl, providers
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout, layout, read_json
from k8sext.cluster.private import PrivateApiServer, private_api_server

if TYPE_CHECKING:
    from k8sext.cluster.programs.progress import Progress
    from k8sext.kube.objects import Json

__all__ = [
    "Cluster",
    "ClusterError",
    "PrivateApiServer",
    "add_node",
    "connect",
    "default_provider",
    "down",
    "environment",
    "log_command",
    "private_api_server",
    "provider_of",
    "remove_node",
    "start_node",
    "status",
    "stop_node",
    "up",
]


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
        """The API server's address, as https://127.0.0.1:6443. Raises ClusterError when the cluster is gone."""
        return self.layout.config_in_use()["server"]

    @property
    def programs(self) -> dict[str, Path]:
        """The programs it runs on, kubectl among them, by name."""
        return {name: Path(path) for name, path in self.layout.config_in_use()["programs"].items()}

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """What kubectl prints. Raises ClusterError with kubectl's own message when it fails."""
        return kubectl.run("kubectl", *arguments, environment=environment(self), input=input)

    def status(self) -> Json:
        """What runs in it, asked now; see k8sext.cluster.report."""
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
    fake_nodes: int | None = None,
    provider: str | None = None,
    progress: Progress | None = None,
    context: str | None = None,
    kubeconfig: str | os.PathLike[str] | None = None,
    consent: providers.Consent | None = None,
) -> Cluster:
    """Start the cluster called name (default $K8SEXT_CLUSTER, else k8sext) or find it running.

    data is a folder for its files, chosen unless given. provider is one of PROVIDERS (default: $K8SEXT_PROVIDER, else
    what is there already, else embedded on Linux and kind elsewhere). progress hears of long work. The others are
    wishes, which not every provider fulfils: see k8sext.cluster.providers.Wishes. Raises ClusterError.
    """
    from k8sext.cluster.programs.progress import Progress

    where = layout(name, data)
    chosen = _provider(where, provider)
    wishes = providers.Wishes(port, fake_nodes, context, Path(kubeconfig) if kubeconfig else None, consent)
    providers.check(chosen, wishes)
    started = providers.provider(chosen).up(where, progress or Progress(), wishes)
    callback_host = where.read_config().get("callback_host", "127.0.0.1")
    return Cluster(where.name, chosen, where, callback_host, started_here=started)


def default_provider() -> str:
    """$K8SEXT_PROVIDER, else embedded on Linux and kind where that cannot run."""
    return os.environ.get("K8SEXT_PROVIDER") or ("embedded" if platform.system() == "Linux" else "kind")


def provider_of(where: Layout) -> str | None:
    """What made the cluster in this folder; None where there is none."""
    # Read as it is, so that `down` still works where the file is damaged.
    config = read_json(where.config)
    return config.get("provider", "embedded") if config else None


def _provider(where: Layout, wanted: str | None) -> str:
    """The provider to start with: the wanted one, else that of the cluster which is there, else the default. Raises
    ClusterError."""
    there = provider_of(where)
    chosen = wanted or os.environ.get("K8SEXT_PROVIDER") or there or default_provider()
    if chosen not in providers.PROVIDERS:
        raise ClusterError(f"There is no provider {chosen!r}: choose one of {', '.join(providers.PROVIDERS)}.")
    if there and there != chosen:
        raise ClusterError(
            f"The cluster {where.name!r} is of the provider {there}, not {chosen}: stop it first with `k8sext down "
            f"--name {where.name}`, "
            "or give the new one another --name."
        )
    return chosen


def connect(
    name: str | None = None, data: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> Cluster:
    """The learner's cluster for a notebook: found running, or started. Leaving it does not stop it. Raises
    ClusterError."""
    found = up(name, data, progress=progress)
    return replace(found, started_here=False)


def down(where: Layout) -> bool:
    """Stop a cluster and remove its files; returns whether there was anything to do."""
    return providers.provider(_made_by(where)).down(where)


def status(where: Layout) -> Json:
    """What runs in a cluster, asked now."""
    return providers.provider(_made_by(where)).status(where)


def add_node(
    where: Layout,
    node: str,
    zone: str = "lab-a",
    labels: Sequence[str] = (),
    taints: Sequence[str] = (),
    capacity: Sequence[str] = (),
) -> None:
    """A node joins; returns when it is Ready. labels and capacity are KEY=VALUE, taints KEY=VALUE:EFFECT. Raises
    ClusterError."""
    _nodes(where).add_node(where, node, zone, labels, taints, capacity)


def remove_node(where: Layout, node: str) -> None:
    """A node leaves for good: its containers end, its Node object is deleted."""
    _nodes(where).remove_node(where, node)


def stop_node(where: Layout, node: str) -> None:
    """A node loses its power: no heartbeat, its containers gone at once. Returns at once; NotReady follows within 20
    s."""
    _nodes(where).stop_node(where, node)


def start_node(where: Layout, node: str) -> None:
    """The power is back; returns when the node is Ready."""
    _nodes(where).start_node(where, node)


def log_command(where: Layout, component: str, follow: bool = False, tail: int = -1) -> list[str]:
    """The command that prints a component's log: its last lines, -1 for all, and on as it grows. Raises
    ClusterError."""
    return providers.provider_that_can(_made_by(where), "logs").log_command(where, component, follow, tail)


def _made_by(where: Layout) -> str:
    return provider_of(where) or "embedded"


def _nodes(where: Layout) -> providers.WithNodes:
    return providers.provider_that_can(_made_by(where), "nodes")


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
        "KUBERC": "off",  # the user's own defaults and aliases would change what commands print
        "PATH": os.pathsep.join(dict.fromkeys(path)),
        "NO_PROXY": ",".join(dict.fromkeys(direct)),
        "no_proxy": ",".join(dict.fromkeys(direct)),
        "K8SEXT_CALLBACK_HOST": cluster.callback_host,
    }
