"""Where the kind command line comes from: PATH, the cache, the official release with its checksum, or its Go module."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from k8sext.cluster.errors import ClusterError, Unavailable, writing
from k8sext.cluster.paths import cache_folder
from k8sext.cluster.programs import SETTING, build
from k8sext.cluster.programs.progress import Progress
from k8sext.versions import minor

KIND = "v0.33.0"
# The first that writes the configuration that kubeadm of the workbook's Kubernetes reads.
MINIMUM = (0, 33)
RELEASES = "https://github.com/kubernetes-sigs/kind/releases/download"
HERE = Path(__file__).parent


def find(progress: Progress) -> Path:
    """The kind program; downloaded or built if it is not here. Raises ClusterError, also for one on PATH that is too
    old."""
    if on_path := shutil.which("kind"):
        version = version_of(Path(on_path))
        if version is None or minor(version) < MINIMUM:
            raise ClusterError(
                f"{on_path} is {version or 'no kind that tells its version'}, and the workbook needs kind {KIND} or "
                "newer: update it, or "
                "take it off PATH, and the workbook fetches its own."
            )
        return Path(on_path)
    folder = cache_folder() / "programs" / f"kind-{KIND}-{_system()}"
    if (cached := folder / "kind").is_file():
        return cached
    return _fetch(folder, progress)


def version_of(program: Path) -> str | None:
    """What a kind says of its version, as v0.33.0; None when it says none."""
    try:
        answer = subprocess.run([program, "version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v\d+\.\d+\.\d+", answer.stdout)
    return match[0] if match and answer.returncode == 0 else None


def _system() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}-{machine}"


def _fetch(folder: Path, progress: Progress) -> Path:
    import filelock

    reasons = []
    with writing(folder, "The cache", SETTING):
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            if (folder / "kind").is_file():
                return folder / "kind"
            for name, source in (("download", _download), ("build", _build)):
                if os.environ.get("K8SEXT_PROGRAMS") not in (None, "", name):
                    continue
                try:
                    source(folder, progress)
                    return folder / "kind"
                except Unavailable as reason:
                    progress.say(f"No {name}: {reason}")
                    reasons.append(f"  {name}: {reason}")
    raise ClusterError(
        f"kind {KIND} cannot be had here:\n"
        + "\n".join(reasons)
        + "\nInstall it (https://kind.sigs.k8s.io) so that it is on PATH."
    )


def _build(folder: Path, progress: Progress) -> None:
    build.compile_all({"kind": "sigs.k8s.io/kind"}, HERE / "gomod", folder, progress)


def _download(folder: Path, progress: Progress) -> None:
    from k8sext.cluster.programs.download import Release, fetch_releases

    base = (os.environ.get("K8SEXT_KIND_MIRROR") or RELEASES).rstrip("/")
    address = f"{base}/{KIND}/kind-{_system()}"
    fetch_releases([Release("kind", address, f"{address}.sha256sum")], folder, progress)
