"""Programs that this machine has already: named by environment variables, or on PATH, if their version fits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k8sext.cluster.errors import ClusterError
from k8sext.versions import ETCD_MINIMUM, KUBERNETES, minor

ASSETS = "KUBEBUILDER_ASSETS"


def find(names: Iterable[str]) -> dict[str, Path]:
    """Those of the named programs that are here in a version that fits.

    $KUBEBUILDER_ASSETS (a folder, the convention of envtest) comes before PATH. Raises ClusterError when the learner
    named a folder whose program does not fit: to pass over it in silence would surprise more than to stop.
    """
    with ThreadPoolExecutor() as pool:
        found = pool.map(_find, names := list(names))
    return {name: path for name, path in zip(names, found, strict=True) if path}


def _find(name: str) -> Path | None:
    if assets := os.environ.get(ASSETS):
        path = Path(assets).expanduser() / name
        if path.exists():
            if not fits(name, version := version_of(path)):
                raise ClusterError(
                    f"{path} is {version or 'no program that tells its version'}, and the workbook needs "
                    f"{wanted(name)}: "
                    f"put that one there, or unset {ASSETS}."
                )
            return path.absolute()
    if on_path := shutil.which(name):
        path = Path(on_path)
        if fits(name, version_of(path)):
            return path.absolute()
    return None


def fits(name: str, version: str | None) -> bool:
    """Whether a version will do: Kubernetes' own minor version, and an etcd that is new enough."""
    if version is None:
        return False
    if name == "etcd":
        return ETCD_MINIMUM <= minor(version) < (4, 0)
    return minor(version) == minor(KUBERNETES)


def wanted(name: str) -> str:
    """What fits, in words."""
    if name == "etcd":
        return "etcd {}.{} or newer".format(*ETCD_MINIMUM)
    return "Kubernetes v{}.{}".format(*minor(KUBERNETES))


def version_of(program: Path) -> str | None:
    """What a program says of its version, as v1.37.2; None when it does not say one within ten seconds."""
    arguments = ["version", "--client"] if program.name == "kubectl" else ["--version"]
    try:
        answer = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = re.search(r"(?:Kubernetes|Client Version:|etcd Version:) v?(\d+\.\d+\.\d+\S*)", answer.stdout)
    return f"v{match[1]}" if match and answer.returncode == 0 else None
