"""Providers: where a cluster comes from, behind one interface.

    embedded    etcd, kube-apiserver and the others as child processes, with nodes of our own; no Docker, no root
    kind        the same in Docker containers, made by the kind command line
    existing    a cluster that is there already, borrowed by the name of its kubeconfig context

Each is a package whose functions are those of Provider. Everything may be called twice, and again after a kill. What
a provider cannot do is data, CANNOT, and is refused in one place, before the provider is asked. This is the only place
that imports providers by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from k8sext.cluster.errors import ClusterError

if TYPE_CHECKING:
    from k8sext.cluster.paths import Layout
    from k8sext.cluster.programs.progress import Progress
    from k8sext.kube.objects import Json

Consent = Callable[[str], bool]
"""Gets a plan in words, and answers whether to go on."""


@dataclass(frozen=True)
class Wishes:
    """What `up` may be asked for, beside a name and a folder."""

    port: int | None = None
    """The API server's."""
    fake_nodes: int | None = None
    """How many nodes join that only register and hold leases, for lessons on scheduling."""
    context: str | None = None
    """A cluster that is there already, by its context; the default is $K8SEXT_CONTEXT."""
    kubeconfig: Path | None = None
    """Where that context is; the default is kubectl's own."""
    consent: Consent | None = None
    """Asked once before somebody's cluster is changed; without it the answer is no."""


class Provider(Protocol):
    """What every provider does. All raise ClusterError with a sentence."""

    def up(self, layout: Layout, progress: Progress, wishes: Wishes) -> bool:
        """Make the cluster run. Returns whether this call started it; when it fails nothing of it is left."""
        ...

    def down(self, layout: Layout) -> bool:
        """Stop it and remove its files. Returns whether there was anything to do."""
        ...

    def status(self, layout: Layout) -> Json:
        """What runs, asked now, as k8sext.cluster.report gives it."""
        ...


class WithNodes(Provider, Protocol):
    """What a provider does beyond that whose machines are the workbook's."""

    def add_node(
        self,
        layout: Layout,
        name: str,
        zone: str,
        labels: Sequence[str],
        taints: Sequence[str],
        capacity: Sequence[str],
    ) -> None:
        """A node joins; returns when it is Ready."""
        ...

    def remove_node(self, layout: Layout, name: str) -> None:
        """A node leaves for good."""
        ...

    def stop_node(self, layout: Layout, name: str) -> None:
        """A node loses its power. Returns at once."""
        ...

    def start_node(self, layout: Layout, name: str) -> None:
        """The power is back; returns when the node is Ready."""
        ...

    def log_command(self, layout: Layout, component: str, follow: bool, tail: int) -> list[str]:
        """The command that prints the last lines (-1: all) of a component's log."""
        ...


PROVIDERS = ("embedded", "kind", "existing")
_NO_FAKE_NODES = "Only an embedded cluster has fake nodes: leave them out, or use the provider embedded."
_NO_CONTEXT = (
    "A context and a kubeconfig name a cluster of the provider existing: leave them out, or choose that provider."
)
_NO_NODES = (
    "The provider existing can neither add nor stop nodes, as they are not the workbook's: use the provider "
    "embedded or kind for that."
)
_NO_LOGS = (
    "The provider existing has no logs of the cluster's programs: ask whoever runs the cluster; `kubectl logs` shows "
    "those of pods."
)
_NO_PORT = "The port of a cluster that is there already cannot be chosen: leave it out."
CANNOT: dict[str, dict[str, str]] = {
    "embedded": {"context": _NO_CONTEXT},
    "kind": {"fake nodes": _NO_FAKE_NODES, "context": _NO_CONTEXT},
    "existing": {"fake nodes": _NO_FAKE_NODES, "port": _NO_PORT, "nodes": _NO_NODES, "logs": _NO_LOGS},
}
"""What a provider cannot do, and the sentence that says so."""


def check(name: str, wishes: Wishes) -> None:
    """Raise ClusterError for a wish that a provider cannot fulfil."""
    asked = {
        "fake nodes": wishes.fake_nodes,
        "context": wishes.context or wishes.kubeconfig,
        "port": wishes.port,
    }
    for what, sentence in CANNOT[name].items():
        if asked.get(what):
            raise ClusterError(sentence)


def provider(name: str) -> Provider:
    """Return a provider; it is loaded now, so that a command waits for no other."""
    if name == "existing":
        from k8sext.cluster.providers import existing

        return existing
    return _with_nodes(name)


def provider_that_can(name: str, what: str) -> WithNodes:
    """Return a provider for what it may not be able to do: "nodes" or "logs". Raises ClusterError."""
    if sentence := CANNOT[name].get(what):
        raise ClusterError(sentence)
    return _with_nodes(name)


def _with_nodes(name: str) -> WithNodes:
    if name == "kind":
        from k8sext.cluster.providers import kind

        return kind
    from k8sext.cluster.providers import embedded

    return embedded
