"""Paths of the node: which folder of this machine each of them means.

Several nodes share this machine, and each has its kubelet's folder somewhere else, while whoever writes a manifest (and
a CSI driver that is told paths) expects /var/lib/kubelet on each. So that is what the node calls it, and only the
kubelet knows better. The registration folder stands apart: sockets want a short path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

KUBELET = PurePosixPath("/var/lib/kubelet")
REGISTRY = KUBELET / "plugins_registry"


class NotOnNode(Exception):
    """The node has no such path."""


@dataclass(frozen=True)
class Paths:
    """`root` stands for /var/lib/kubelet, `registry` for its plugins_registry."""

    root: Path
    registry: Path

    def make(self) -> None:
        """Make the folders that plugins look for. `plugins_registry` below root is the place to mount the registry
        at."""
        for folder in (self.root / "pods", self.root / "plugins", self.root / REGISTRY.name):
            folder.mkdir(parents=True, exist_ok=True)
        self.registry.mkdir(mode=0o700, parents=True, exist_ok=True)

    def locate(self, path: str | PurePosixPath) -> Path:
        """Where a path of the node is on this machine. Raises NotOnNode."""
        wanted = PurePosixPath(os.path.normpath(path))
        if wanted.is_relative_to(REGISTRY):
            return self.registry / wanted.relative_to(REGISTRY)
        if wanted.is_relative_to(KUBELET):
            return self.root / wanted.relative_to(KUBELET)
        raise NotOnNode(f"{path} is refused: only folders below {KUBELET} are a node's own, the rest is your machine's")
