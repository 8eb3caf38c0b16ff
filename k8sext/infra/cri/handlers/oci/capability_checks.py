"""Whether this machine lets us isolate containers; if not, why, in sentences that a learner understands."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from k8sext.infra.cri.handlers.security import held

PROGRAMS = {"crun": "crun", "ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}
IMAGE_PROGRAMS = {"skopeo": "skopeo", "umoci": "umoci"}
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def obstacles() -> list[str]:
    """Return what stands in the way of the handler `oci`, a sentence each; nothing if it can be used."""
    if missing := [package for program, package in PROGRAMS.items() if program_at(program) is None]:
        return [f"install {', '.join(dict.fromkeys(missing))}"]
    found = [sentence for test, sentence in _TESTS if not test()]
    return found[:1] if found and found[0] == _NO_NAMESPACES else found


def missing_for_images() -> list[str]:
    """Return the packages that are wanted for images other than the built-in one."""
    return [package for program, package in IMAGE_PROGRAMS.items() if program_at(program) is None]


def program_at(name: str) -> str | None:
    """Where a program stands, also when the folders for administrators are not on PATH."""
    return shutil.which(name, path=_PATH)


def namespace_flags() -> list[str]:
    """What `unshare` needs to be allowed to make namespaces: nothing with root's rights, else a user namespace
    first."""
    return [] if held("SYS_ADMIN") and held("NET_ADMIN") else ["--user", "--map-root-user"]


def _works(*command: str) -> bool:
    flags = namespace_flags()
    try:
        done = subprocess.run(
            ["unshare", *flags, *command], capture_output=True, timeout=10, env={"PATH": _PATH}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _may_mount_proc() -> bool:
    return _works("--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc")


def _may_make_bridges() -> bool:
    return _works("--net", "ip", "link", "add", "name", "k8sext", "type", "bridge")


def _may_make_veths() -> bool:
    return _works("--net", "ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "two")


_NO_NAMESPACES = (
    "new namespaces are not allowed here: start the cluster as root, or allow user namespaces "
    "(sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, "
    "user.max_user_namespaces)"
)
_TESTS: list[tuple[Callable[[], bool], str]] = [
    (lambda: _works("--net", "--mount", "--ipc", "--uts", "true"), _NO_NAMESPACES),
    (_may_mount_proc, "/proc cannot be mounted in a new namespace: parts of this machine's own are hidden from us"),
    (_may_make_bridges, "this kernel has no network bridges: load the module 'bridge'"),
    (_may_make_veths, "this kernel has no veth devices: load the module 'veth'"),
]


def owner_is_root() -> bool:
    """Whether containers have all user ids, or only one, which is ours."""
    return not namespace_flags() and Path("/proc/self/uid_map").read_text().split()[2] != "1"
