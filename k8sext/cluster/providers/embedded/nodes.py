"""The nodes of the embedded cluster: which there should be (nodes.json), and what each needs before it can join.

The file is the desired state; the runtime and kubelet processes (k8sext.infra) read it again when it changes and make
it so."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import k8sext.infra.nodes as nodes_json
from k8sext import files
from k8sext.cluster.errors import ClusterError, writing
from k8sext.cluster.kubectl import kubectl
from k8sext.cluster.node_specs import defaults, described
from k8sext.cluster.paths import Layout
from k8sext.cluster.providers.embedded import supervisor
from k8sext.infra.addresses import MOST_PODS
from k8sext.infra.nodes import Nodes, NodeSpec, takes_pods
from k8sext.kube import certificates as x509
from k8sext.kube.objects import Json
from k8sext.kube.quantity import parse

WAIT_LIMIT = 60.0


def prepare(layout: Layout, server: str, fake: int | None) -> Nodes:
    """At the start of a cluster: credentials for every node there should be, the default ones if none were written
    down."""
    wanted = read(layout) if layout.nodes_file.exists() else Nodes({spec.name: spec for spec in defaults()})
    if fake is not None:
        wanted.fake = fake
    for spec in wanted.specs.values():
        _credentials(layout, spec, server)
    if wanted.fake:
        _fake_credentials(layout, server)
    nodes_json.write(layout.nodes_file, wanted)
    return wanted


def read(layout: Layout) -> Nodes:
    """The nodes that there should be. Raises ClusterError when the file is damaged."""
    try:
        return nodes_json.read(layout.nodes_file)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{layout.nodes_file} is damaged ({error}): remove the cluster with `k8sext down` and start it anew."
        ) from error


def _credentials(layout: Layout, spec: NodeSpec, server: str) -> None:
    """A node's folder with what its kubelet needs: a kubeconfig as system:node:NAME, and a serving certificate for its
    address."""
    ca = x509.Pair.load(layout.pki, "ca")
    folder = layout.nodes / spec.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"system:node:{spec.name}"
    client = x509.issue(ca, name, ["system:nodes"])
    files.replace(folder / "kubeconfig", x509.kubeconfig(name, server, ca, client), mode=0o600)
    x509.issue(ca, name, ["system:nodes"], hosts=[spec.ip, spec.name]).save(folder, "kubelet")


def _fake_credentials(layout: Layout, server: str) -> None:
    """One administrator's kubeconfig for all fake nodes: a kubelet's own certificate would let it speak for a single
    node only."""
    folder = layout.nodes / "fake"
    folder.mkdir(mode=0o700, exist_ok=True)
    ca = x509.Pair.load(layout.pki, "ca")
    client = x509.issue(ca, "k8sext-fake-nodes", ["system:masters"])
    files.replace(folder / "kubeconfig", x509.kubeconfig("fake", server, ca, client), mode=0o600)


def add(
    layout: Layout,
    name: str,
    zone: str = "lab-a",
    labels: Sequence[str] = (),
    taints: Sequence[str] = (),
    capacity: Sequence[str] = (),
) -> None:
    """A node joins; returns when it is Ready. labels and capacity are KEY=VALUE, taints KEY=VALUE:EFFECT. Raises
    ClusterError."""
    spec = described(name, 0, zone, labels, taints, capacity)
    if parse(spec.capacity["pods"]) > MOST_PODS:
        raise ClusterError(f"A node has addresses for {MOST_PODS} pods: choose pods={MOST_PODS}, or add another node.")
    with _wanted(layout) as wanted:
        if name in wanted.specs:
            raise ClusterError(f"There is a node {name!r} already: see `kubectl get nodes`.")
        used = {other.index for other in wanted.specs.values()}
        index = next((i for i in range(255) if i not in used), None)
        if index is None:
            raise ClusterError("255 nodes that run pods are the most: remove one with `k8sext node rm NAME`.")
        wanted.specs[name] = replace(spec, index=index)
        _credentials(layout, wanted.specs[name], layout.config_in_use()["server"])
    try:
        _wait(layout, name, "to be Ready", lambda found: found is not None and takes_pods(found))
    except BaseException:
        remove(layout, name)  # a node that cannot join must not hold up the next start of the cluster
        raise


def stop(layout: Layout, name: str) -> None:
    """A node loses its power: no heartbeat, its containers gone at once. Returns at once; NotReady follows within 20
    s."""
    _set_state(layout, name, "stopped")


def start(layout: Layout, name: str) -> None:
    """The power is back; returns when the node is Ready."""
    _set_state(layout, name, "running")
    _wait(layout, name, "to be Ready", lambda found: found is not None and takes_pods(found))


def remove(layout: Layout, name: str) -> None:
    """A node leaves for good: its containers end, its Node object is deleted."""
    with _wanted(layout) as wanted:
        if _find(wanted, name).index == 0:
            raise ClusterError(
                f"{name} carries the control plane and cannot be removed; `k8sext node stop {name}` stops it."
            )
        del wanted.specs[name]
    _wait_for_folder(layout, name)
    kubectl(layout, "delete", "node", name, "--ignore-not-found")
    shutil.rmtree(layout.nodes / name, ignore_errors=True)


def _set_state(layout: Layout, name: str, state: str) -> None:
    with _wanted(layout) as wanted:
        wanted.specs[name] = replace(_find(wanted, name), state=state)


@contextlib.contextmanager
def _wanted(layout: Layout) -> Iterator[Nodes]:
    """nodes.json to change, one writer at a time; written back only if nothing was raised."""
    import filelock

    if not layout.read_config():
        raise ClusterError(f"There is no cluster {layout.name}. Start it with: k8sext up")
    if not supervisor.is_running(layout):
        raise ClusterError(
            f"The cluster {layout.name} is down. Start it with: k8sext up, with the same --name and --data."
        )
    setting = "give yourself the right to write there"
    with writing(layout.data, "The cluster's folder", setting), filelock.FileLock(layout.nodes_lock):
        yield (wanted := read(layout))
        nodes_json.write(layout.nodes_file, wanted)


def _find(wanted: Nodes, name: str) -> NodeSpec:
    if name not in wanted.specs:
        raise ClusterError(f"There is no node {name!r}: choose one of {', '.join(wanted.specs)}.")
    return wanted.specs[name]


def _wait(layout: Layout, name: str, what: str, good: Callable[[Json | None], bool]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT
    while not good(_node_object(layout, name)):
        if time.monotonic() > deadline:
            raise ClusterError(f"Node {name} took longer than {WAIT_LIMIT:.0f} s {what}: see `k8sext logs kubelet`.")
        time.sleep(0.2)


def _node_object(layout: Layout, name: str) -> Json | None:
    text = kubectl(layout, "get", "node", name, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text.strip() else None


def _wait_for_folder(layout: Layout, name: str) -> None:
    """Until the kubelet and the runtime have let go of a node, so that the Node object is not made again."""
    deadline = time.monotonic() + WAIT_LIMIT
    while any((layout.nodes / name / part).exists() for part in ("cri", "kubelet")) and time.monotonic() < deadline:
        time.sleep(0.1)
