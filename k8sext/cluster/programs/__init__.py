"""Where the programs of Kubernetes come from: this machine, the cache, the official downloads, or the Go modules, in
this order."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from k8sext.cluster.errors import ClusterError, Unavailable, writing
from k8sext.cluster.paths import cache_folder
from k8sext.cluster.programs import installed
from k8sext.cluster.programs.progress import Progress
from k8sext.versions import KUBERNETES

CLUSTER_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

SETTING = "name another folder with the environment variable K8SEXT_CACHE"


def architecture() -> str:
    """This machine as the releases name it: amd64 or arm64. Raises ClusterError on any other."""
    machine = platform.machine().lower()
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if platform.system() != "Linux" or machine not in names:
        raise ClusterError(
            f"The embedded cluster runs on Linux with x86-64 or arm64, and this is {platform.system()} on {machine}."
        )
    return names[machine]


def cache() -> Path:
    """The cache's folder for this version and machine; what stands in it is whole and checked."""
    return cache_folder() / "programs" / f"{KUBERNETES}-linux-{architecture()}"


def cached(name: str) -> bool:
    """Whether the cache holds a program: a file with something in it that may be run."""
    path = cache() / name
    return path.is_file() and path.stat().st_size > 0 and os.access(path, os.X_OK)


def find(names: Iterable[str] = CLUSTER_PROGRAMS, progress: Progress | None = None) -> dict[str, Path]:
    """The path of every named program; what is missing is downloaded or built, with progress said to the given
    listener.

    Raises ClusterError with what was tried and what to do when a program cannot be had.
    """
    wanted = list(dict.fromkeys(names))
    found = installed.find(wanted)
    found |= {name: cache() / name for name in wanted if name not in found and cached(name)}
    if missing := [name for name in wanted if name not in found]:
        found |= _fetch(missing, progress or Progress())
    return {name: found[name] for name in wanted}


def beside(progress: Progress) -> dict[str, Path]:
    """What lessons run on this machine beside a cluster elsewhere: kubectl, and on Linux a scheduler. Raises
    ClusterError."""
    if platform.system() == "Linux":
        return find(("kubectl", "kube-scheduler"), progress)
    if not (found := installed.find(("kubectl",))):
        raise ClusterError(
            f"There is no kubectl that fits on PATH: install {installed.wanted('kubectl')} "
            "(https://kubernetes.io/docs/tasks/tools/)."
        )
    return found


def _fetch(missing: list[str], progress: Progress) -> dict[str, Path]:
    """Fill the cache, one process at a time: a second one waits and then finds everything there."""
    import filelock

    folder = cache()
    with writing(folder, "The cache", SETTING):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied")
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            progress.say("Another k8sext is fetching the programs; waiting for it.")
            lock.acquire()
        with lock:
            _sweep(folder)
            try:
                if still_missing := [name for name in missing if not cached(name)]:
                    _from_first_source(still_missing, folder, progress)
            finally:
                _sweep(folder)
    return {name: folder / name for name in missing}


def _from_first_source(names: list[str], folder: Path, progress: Progress) -> None:
    from k8sext.cluster.programs import build, download  # here: what is seldom needed is not loaded by every command

    sources: list[tuple[str, Callable[[list[str], Path, str, Progress], None]]] = [
        ("download", download.fetch),
        ("build", build.fetch),
    ]
    if only := os.environ.get("K8SEXT_PROGRAMS"):
        sources = [source for source in sources if source[0] == only]
        if not sources:
            raise ClusterError(
                f"K8SEXT_PROGRAMS is {only!r}; it can be 'download' or 'build', or be left out for both."
            )
    reasons = []
    for name, fetch in sources:
        try:
            return fetch(names, folder, architecture(), progress)
        except Unavailable as reason:
            progress.say(f"No {name}: {reason}")
            reasons.append(f"  {name}: {reason}")
    raise ClusterError(
        f"{', '.join(names)} {KUBERNETES} cannot be had here:\n"
        + "\n".join(reasons)
        + "\nConnect this machine to the internet, name a mirror with K8SEXT_KUBERNETES_MIRROR and K8SEXT_ETCD_MIRROR, "
        "or put the programs into a folder and name it with KUBEBUILDER_ASSETS."
    )


def _sweep(folder: Path) -> None:
    """Remove what a broken-off fetch left, ours or that of a process that was killed."""
    for leftover in [*folder.glob("*.partial*"), *folder.glob("k8sext-build-*")]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
