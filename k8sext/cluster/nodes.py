"""The nodes of the embedded cluster: which there should be (nodes.json), and what each needs before it can join.

The file is the desired state; the runtime and kubelet processes (k8sext.infra) read it again when it changes and make it so.
Names, labels and taints are those of the kind cluster, so that lessons read the same on both.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from k8sext.cluster import supervisor
from k8sext.cluster.desired_nodes import CONTROL_PLANE, takes_pods
from k8sext.cluster.errors import ClusterError, writing
from k8sext.cluster.kubectl import kubectl
from k8sext.cluster.paths import Layout, read_json, write_json
from k8sext.kube import certificates as x509

CAPACITY = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "20Gi", "pods": "110"}
WAIT_LIMIT = 60.0
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def node(
    name: str,
    index: int,
    zone: str,
    *,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    capacity: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One entry of nodes.json."""
    return {
        "name": name,
        "index": index,
        "state": "running",
        "labels": {
            "topology.kubernetes.io/region": zone.rpartition("-")[0] or zone,
            "topology.kubernetes.io/zone": zone,
            "node.kubernetes.io/instance-type": "k8sext.medium",
            **(labels or {}),
        },
        "taints": [dict(taint) for taint in taints],
        "capacity": {**CAPACITY, **(capacity or {})},
    }


def defaults() -> list[dict[str, Any]]:
    """A control-plane node with its usual taint, and two workers in two zones."""
    taint = {"key": CONTROL_PLANE, "effect": "NoSchedule"}
    return [
        node("k8sext-control-plane", 0, "lab-a", taints=[taint]),
        node("k8sext-worker", 1, "lab-a"),
        node("k8sext-worker2", 2, "lab-b"),
    ]


def described(
    name: str, index: int, zone: str, labels: Sequence[str], taints: Sequence[str], capacity: Sequence[str]
) -> dict[str, Any]:
    """A node in the words of the command line (see add) as an entry of nodes.json. Raises ClusterError."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise ClusterError(f"{name!r} cannot be a node's name: use small letters, digits and dashes.")
    if name.partition("-")[0] == "light":
        raise ClusterError(
            f"{name!r} cannot be a node's name: names with light belong to those of `k8sext up --nodes`."
        )
    extra = {
        "labels": dict(map(_label, labels)),
        "taints": [*map(_taint, taints)],
        "capacity": dict(map(_amount, capacity)),
    }
    return node(name, index, zone, **extra)


def place_labels(entry: dict[str, Any]) -> dict[str, str]:
    """The labels that say where a node stands and what it is; every node has them."""
    return {key: entry["labels"][key] for key in node("", 0, "lab-a")["labels"]}


def prepare(layout: Layout, server: str, light: int | None) -> None:
    """At the start of a cluster: credentials for every node there should be, the default ones if none were written down."""
    desired = read_nodes(layout) if layout.nodes_file.exists() else {"nodes": defaults(), "light": {"count": 0}}
    if light is not None:
        desired["light"] = {"count": light}
    for entry in desired["nodes"]:
        _credentials(layout, entry, server)
    if desired["light"]["count"]:
        _light_credentials(layout, server)
    write_json(layout.nodes_file, desired)


def read_nodes(layout: Layout) -> dict[str, Any]:
    """nodes.json. Raises ClusterError when it is damaged."""
    desired = read_json(layout.nodes_file)
    entries, light = desired.get("nodes"), desired.get("light")
    fields = {"name", "index", "state", "labels", "taints", "capacity"}
    if not isinstance(entries, list) or not isinstance(light, dict) or "count" not in light:
        entries = [None]
    if not all(isinstance(entry, dict) and fields <= entry.keys() for entry in entries):
        raise ClusterError(f"{layout.nodes_file} is damaged: remove the cluster with `k8sext down` and start it anew.")
    return desired


def _credentials(layout: Layout, entry: dict[str, Any], server: str) -> None:
    """A node's folder with what its kubelet needs: a kubeconfig as system:node:NAME, and a serving certificate for its address."""
    ca = x509.Pair.load(layout.pki, "ca")
    folder = layout.nodes / entry["name"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"system:node:{entry['name']}"
    client = x509.issue(ca, name, ["system:nodes"])
    x509.write_private(folder / "kubeconfig", x509.kubeconfig(name, server, ca, client))
    x509.issue(ca, name, ["system:nodes"], hosts=[f"10.244.{entry['index']}.1", entry["name"]]).save(folder, "kubelet")


def _light_credentials(layout: Layout, server: str) -> None:
    """One administrator's kubeconfig for all light nodes: a kubelet's own certificate would let it speak for a single node only."""
    folder = layout.nodes / "light"
    folder.mkdir(mode=0o700, exist_ok=True)
    client = x509.issue(x509.Pair.load(layout.pki, "ca"), "k8sext-light-nodes", ["system:masters"])
    x509.write_private(
        folder / "kubeconfig", x509.kubeconfig("light", server, x509.Pair.load(layout.pki, "ca"), client)
    )


def add(
    layout: Layout,
    name: str,
    zone: str = "lab-a",
    labels: Sequence[str] = (),
    taints: Sequence[str] = (),
    capacity: Sequence[str] = (),
) -> None:
    """A node joins; returns when it is Ready. labels and capacity are KEY=VALUE, taints KEY=VALUE:EFFECT. Raises ClusterError."""
    wanted = described(name, 0, zone, labels, taints, capacity)
    with _desired(layout) as desired:
        if any(entry["name"] == name for entry in desired["nodes"]):
            raise ClusterError(f"There is a node {name!r} already: see `kubectl get nodes`.")
        used = {entry["index"] for entry in desired["nodes"]}
        index = next((i for i in range(255) if i not in used), None)
        if index is None:
            raise ClusterError("255 nodes that run pods are the most: remove one with `k8sext node rm NAME`.")
        entry = {**wanted, "index": index}
        _credentials(layout, entry, layout.read_config()["server"])
        desired["nodes"].append(entry)
    try:
        _wait(layout, name, "to be Ready", lambda found: found is not None and takes_pods(found))
    except BaseException:
        remove(layout, name)  # a node that cannot join must not hold up the next start of the cluster
        raise


def stop(layout: Layout, name: str) -> None:
    """A node loses its power: no heartbeat, its containers gone at once. Returns at once; NotReady follows within 20 s."""
    _set_state(layout, name, "stopped")


def start(layout: Layout, name: str) -> None:
    """The power is back; returns when the node is Ready."""
    _set_state(layout, name, "running")
    _wait(layout, name, "to be Ready", lambda found: found is not None and takes_pods(found))


def remove(layout: Layout, name: str) -> None:
    """A node leaves for good: its containers end, its Node object is deleted."""
    with _desired(layout) as desired:
        if _find(desired, name)["index"] == 0:
            raise ClusterError(
                f"{name} carries the control plane and cannot be removed; `k8sext node stop {name}` stops it."
            )
        desired["nodes"] = [entry for entry in desired["nodes"] if entry["name"] != name]
    _wait_for_folder(layout, name)
    kubectl(layout, "delete", "node", name, "--ignore-not-found")
    shutil.rmtree(layout.nodes / name, ignore_errors=True)


def _set_state(layout: Layout, name: str, state: str) -> None:
    with _desired(layout) as desired:
        _find(desired, name)["state"] = state


@contextlib.contextmanager
def _desired(layout: Layout) -> Any:
    """nodes.json to change, one writer at a time; written back only if nothing was raised."""
    import filelock

    if not layout.read_config():
        raise ClusterError(f"There is no cluster {layout.name}. Start it with: k8sext up")
    if not supervisor.is_running(layout):
        raise ClusterError(
            f"The cluster {layout.name} is down. Start it with: k8sext up, with the same --name and --data."
        )
    setting = "make room, or give yourself the right to write there"
    with writing(layout.data, "The cluster's folder", setting), filelock.FileLock(layout.data / "nodes.lock"):
        yield (desired := read_nodes(layout))
        write_json(layout.nodes_file, desired)


def _find(desired: dict[str, Any], name: str) -> dict[str, Any]:
    for entry in desired["nodes"]:
        if entry["name"] == name:
            return entry
    names = ", ".join(entry["name"] for entry in desired["nodes"])
    raise ClusterError(f"There is no node {name!r}: choose one of {names}.")


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ClusterError(f"{text!r} is not of the form KEY=VALUE.")
    return key, value


def _label(text: str) -> tuple[str, str]:
    key, value = _pair(text)
    name = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
    if not re.fullmatch(rf"([a-z0-9.-]{{1,253}}/)?{name}", key) or not re.fullmatch(rf"({name})?", value):
        raise ClusterError(
            f"{text!r} is no label: up to 63 letters, digits, dashes, dots and underscores on each side, as in disk=ssd."
        )
    return key, value


def _amount(text: str) -> tuple[str, str]:
    key, value = _pair(text)
    if not re.fullmatch(r"\d+(\.\d+)?(m|[kMGTPE]i?)?", value):
        raise ClusterError(f"{value!r} is no amount of {key}: write a quantity of Kubernetes, as 2, 500m or 8Gi.")
    return key, value


def _taint(text: str) -> dict[str, str]:
    match = re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(\w+)", text)
    if match is None or match[3] not in EFFECTS:
        raise ClusterError(f"{text!r} is no taint: write KEY=VALUE:EFFECT, and as effect one of {', '.join(EFFECTS)}.")
    return {"key": match[1], **({"value": match[2]} if match[2] else {}), "effect": match[3]}


def _wait(layout: Layout, name: str, what: str, good: Any) -> None:
    deadline = time.monotonic() + WAIT_LIMIT
    while not good(_node_object(layout, name)):
        if time.monotonic() > deadline:
            raise ClusterError(f"Node {name} took longer than {WAIT_LIMIT:.0f} s {what}: see `k8sext logs kubelet`.")
        time.sleep(0.2)


def _node_object(layout: Layout, name: str) -> dict[str, Any] | None:
    text = kubectl(layout, "get", "node", name, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text.strip() else None


def _wait_for_folder(layout: Layout, name: str) -> None:
    """Until the kubelet and the runtime have let go of a node, so that the Node object is not made again."""
    deadline = time.monotonic() + WAIT_LIMIT
    while any((layout.nodes / name / part).exists() for part in ("cri", "kubelet")) and time.monotonic() < deadline:
        time.sleep(0.1)
