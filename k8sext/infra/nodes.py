"""nodes.json: which nodes there should be. `k8sext up` and `k8sext node` write it; the runtime and the kubelet follow
it and make it so.

    {"version": 1,
     "nodes": [{"name": "k8sext-worker", "index": 1, "state": "running", "labels": {}, "taints": [], "capacity": {"cpu":
     "4"}}], "light": {"count": 0}}

The version changes when an earlier reader would misunderstand the file. The first release wrote none and means 1, so
that a cluster that it started is found, used and stopped by every later one; its word `light` stands for the fake
nodes. Standard library only: the supervisor of a cluster reads it, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from k8sext import files
from k8sext.infra import addresses
from k8sext.kube.objects import Json, condition_of

VERSION = 1
CAPACITY = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "20Gi", "pods": "110"}
"""What a node has unless something else is said, whatever its machine has: lessons on scheduling read the same
everywhere."""
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
LOOK_SECONDS = 0.25
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeSpec:
    """A node that runs pods. Its addresses follow from the index (see k8sext.infra.addresses); `state` is running or
    stopped."""

    name: str
    index: int
    state: str = "running"
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    capacity: dict[str, str] = field(default_factory=CAPACITY.copy)

    @property
    def ip(self) -> str:
        """Its own address."""
        return addresses.node_address(self.index)

    @property
    def pod_cidr(self) -> str:
        """The range of its pods' addresses."""
        return str(addresses.pod_range(self.index))

    @property
    def is_control_plane(self) -> bool:
        """Whether it has the taint of nodes that carry the control plane."""
        return any(taint["key"] == CONTROL_PLANE for taint in self.taints)


@dataclass
class Nodes:
    """The nodes that there should be, by name; and how many fake ones besides, which only register and hold leases."""

    specs: dict[str, NodeSpec]
    fake: int = 0

    @property
    def running(self) -> list[NodeSpec]:
        """Those that have power."""
        return [spec for spec in self.specs.values() if spec.state == "running"]


def read(file: Path) -> Nodes:
    """What the file says. Raises OSError where there is none, ValueError for one that makes no sense, or that a later
    version wrote."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if content.get("version", 1) > VERSION:
            raise ValueError(f"it was written by a later version of k8sext, as version {content['version']}")
        specs = [NodeSpec(**entry) for entry in content["nodes"]]
        for spec in specs:
            _check(spec)
        return Nodes({spec.name: spec for spec in specs}, int(content.get("light", {}).get("count", 0)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it does not describe nodes: {error}") from error


def _check(spec: NodeSpec) -> None:
    # The name becomes part of a path.
    if not isinstance(spec.name, str) or not spec.name or "/" in spec.name or spec.name.startswith("."):
        raise ValueError(f"{spec.name!r} is not a node's name")
    if not isinstance(spec.index, int) or not 0 <= spec.index < 256:
        raise ValueError(f"{spec.index!r} is no index of a node: it is a whole number below 256")


def write(file: Path, nodes: Nodes) -> None:
    """Write the file in one step. Raises OSError."""
    specs = [asdict(spec) for spec in nodes.specs.values()]
    content = {"version": VERSION, "nodes": specs, "light": {"count": nodes.fake}}
    files.replace(file, json.dumps(content, indent=1))


async def follow(file: Path, make_so: Callable[[Nodes], Awaitable[bool]]) -> None:
    """Call make_so with what the file says, now and whenever it changes, until cancelled; soon again where the answer
    is False.

    A file that cannot be read changes nothing; the log says why.
    """
    done = None
    while True:
        stamp = files.stamp(file)
        if stamp is not None and stamp != done:
            try:
                nodes = read(file)
            except (OSError, ValueError) as problem:
                log.warning("%s cannot be read, nothing is changed: %s", file, problem)
                done = stamp
            else:
                if await make_so(nodes):
                    done = stamp
        await asyncio.sleep(LOOK_SECONDS)


def is_ready(node: Json) -> bool:
    """Whether a Node object says Ready."""
    return condition_of(node, "Ready").get("status") == "True"


def takes_pods(node: Json) -> bool:
    """Whether a Node is Ready, and the control plane has taken the taints off that it puts on nodes which are not."""
    taints = {taint["key"] for taint in node.get("spec", {}).get("taints", [])}
    return is_ready(node) and not taints & {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
