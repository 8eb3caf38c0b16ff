"""The programs of a kind node that the workbook itself does not need: built from their Go modules into the recipe's
cache."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import filelock

from k8sext.cluster import programs
from k8sext.cluster.programs import build
from k8sext.cluster.programs.progress import Progress
from tests.kind.cache import folder

HERE = Path(__file__).parent
BUILT_HERE = ("kubeadm", "kubelet", "kube-proxy")


def find(progress: Progress) -> dict[str, Path]:
    """Every program of a node by name; those that are missing are built."""
    found = _built(BUILT_HERE, progress)
    pause = folder() / "pause"
    if not pause.exists():
        build.compile_all({"pause": "k8sext/node/pause"}, HERE / "gomod", folder(), progress)
    return {**programs.find(progress=progress), **found, "pause": pause}


def kubelet(progress: Progress) -> Path:
    """The real kubelet, for tests that hold ours against it. Raises ClusterError where it cannot be built."""
    return _built(("kubelet",), progress)["kubelet"]


def _built(names: Iterable[str], progress: Progress) -> dict[str, Path]:
    found = {name: folder() / name for name in names}
    with filelock.FileLock(folder() / ".lock"):  # tests side by side want the same program
        if missing := [name for name, path in found.items() if not path.exists()]:
            packages = {name: f"k8s.io/kubernetes/cmd/{name}" for name in missing}
            build.compile_all(packages, HERE / "gomod", folder(), progress)
    return found


def images(kubeadm: Path, version: str) -> dict[str, str]:
    """The tags of the images that kubeadm asks for, by their last part, as pause: registry.k8s.io/pause:3.10."""
    command = [str(kubeadm), "config", "images", "list", f"--kubernetes-version={version}"]
    tags = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {tag.rpartition(":")[0].rpartition("/")[2]: tag for tag in tags}
