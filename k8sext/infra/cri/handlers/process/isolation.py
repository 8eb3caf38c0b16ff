"""Three ways to make a volume stand at its mountPath without a privilege, the best that works here is taken.

`Bubblewrap` gives a container a mount namespace of its own, where the machine allows that (user namespaces, or root).
`PRoot` rewrites the paths in the container's system calls by ptrace, which every user may do; it cannot make a folder
read-only. `Plain` has neither and can only name the place of the service-account folder in the environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from k8sext.infra.cri.handlers.mounts import Mount
from k8sext.infra.grpc import invalid_argument

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBELET_FILES = ("/etc/hosts", "/dev/termination-log")
"""Files a kubelet mounts unasked; where nothing can be mounted the machine's own are seen."""


class Isolation(Protocol):
    """How programs of a container are run."""

    name: str
    can_be_readonly: bool
    can_mount: bool
    forks: int
    """How many processes of the wrapper stand above the program."""

    def check(self, mounts: Sequence[Mount]) -> None:
        """Raise StatusError when one of the mounts cannot be made."""
        ...

    def wrapper(self, mounts: Sequence[Mount], cwd: str, readonly: bool, hostname: str) -> list[str]:
        """Return the command to put before a program's own; an empty host name stands for the machine's."""
        ...


class Bubblewrap:
    """Mounts in a namespace: the machine's root folder, seen again entry by entry, with the volumes among them."""

    name = "bubblewrap"
    can_be_readonly = True
    can_mount = True
    forks = 1

    def __init__(self, program: str) -> None:
        self._program = program

    def check(self, mounts: Sequence[Mount]) -> None:
        """Everything can be mounted."""

    def wrapper(self, mounts: Sequence[Mount], cwd: str, readonly: bool, hostname: str) -> list[str]:
        """Return `bwrap ... --`."""
        ordered = sorted(
            (mount._replace(target=_true_place(mount.target)) for mount in mounts),
            key=lambda mount: mount.target.count("/"),
        )
        opened = dict.fromkeys(["/", *filter(None, (_folder_to_open(mount, ordered) for mount in ordered))])
        arguments = [argument for folder in sorted(opened) for argument in _open(folder, readonly)]
        # those that bwrap makes by itself are its user's alone, and the program may be another's
        arguments += [argument for folder in _missing_folders(ordered) for argument in ("--dir", folder)]
        for mount in ordered:
            arguments += ["--ro-bind" if mount.readonly else "--dev-bind", mount.source, mount.target]
        if readonly:
            arguments += [argument for folder in opened for argument in ("--remount-ro", folder)]
        name = ["--unshare-uts", "--hostname", hostname] if hostname else []
        return [self._program, "--die-with-parent", *name, *arguments, "--chdir", cwd, "--"]


class PRoot:
    """Paths rewritten in system calls.

    Its limits: before version 5.2 a container ends only when its last process has; run by root it leaves the empty
    folders at which it mounted.
    """

    name = "proot"
    can_be_readonly = False
    can_mount = True
    forks = 2
    _TELL = """
trap "exit 143" TERM
trap : HUP INT QUIT
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
exit $?
"""
    """PRoot knows exit codes but not signals: it ends with 255 when its program was killed. So a shell in between waits
    for the program and says 128 + the signal's number, as shells do. What a terminal sends to all in front of it is not
    for the shell."""

    def __init__(self, program: str, *options: str) -> None:
        self._command = [program, *options]

    def check(self, mounts: Sequence[Mount]) -> None:
        """A colon separates the two paths on PRoot's command line."""
        for mount in mounts:
            if ":" in mount.source + mount.target:
                raise invalid_argument(
                    f"PRoot cannot mount at {mount.target!r}: choose paths without a colon or install bubblewrap"
                )

    def wrapper(self, mounts: Sequence[Mount], cwd: str, readonly: bool, hostname: str) -> list[str]:
        """Return `proot ...`."""
        binds = [argument for mount in mounts for argument in ("-b", f"{mount.source}:{mount.target}")]
        return [*self._command, "-v", "-1", *binds, "-w", cwd, "/bin/sh", "-c", self._TELL, "sh"]


class Plain:
    """No mounts at all."""

    name = "none"
    can_be_readonly = False
    can_mount = False
    forks = 0

    def check(self, mounts: Sequence[Mount]) -> None:
        """Let pass what needs no mounting: the service account (given by environment), the kubelet's files, a path that
        stays as it is."""
        for mount in mounts:
            if mount.target not in (SERVICE_ACCOUNT, *KUBELET_FILES) and mount.source != mount.target:
                raise invalid_argument(
                    f"cannot mount a volume at {mount.target!r}: this machine allows no user namespaces and has no "
                    "PRoot; "
                    "install the package 'proot' or 'bubblewrap' and restart the cluster"
                )

    def wrapper(self, mounts: Sequence[Mount], cwd: str, readonly: bool, hostname: str) -> list[str]:
        """Return nothing: the program is run as it is."""
        return []


def probe() -> Isolation:
    """Try what works on this machine, best first."""
    ways: list[Isolation] = []
    if bwrap := shutil.which("bwrap"):
        ways.append(Bubblewrap(bwrap))
    if proot := shutil.which("proot"):
        ways += [PRoot(proot, "--kill-on-exit"), PRoot(proot)]
    return next(filter(works, ways), Plain())


def works(way: Isolation) -> bool:
    """Whether a program can be run this way."""
    command = [*way.wrapper([], "/", readonly=False, hostname="probe"), "/bin/sh", "-c", ":"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _true_place(target: str) -> str:
    """Follow the symbolic links on the way to a mount point, as /var/run to /run: a bind mount cannot stand on a
    link."""
    parent, name = os.path.split(os.path.normpath(target))
    return os.path.realpath(Path(os.path.realpath(parent), name))


def _folder_to_open(mount: Mount, mounts: Sequence[Mount]) -> str | None:
    """Return the deepest folder on the way to a mount point that is missing on this machine: it is where something must
    be added."""
    if Path(mount.target).exists() or any(mount.target.startswith(f"{other.target}/") for other in mounts):
        return None
    return str(next(folder for folder in Path(mount.target).parents if folder.is_dir()))


def _missing_folders(mounts: Sequence[Mount]) -> list[str]:
    """Return the folders on the way to mount points that are neither on this machine nor in another mount."""
    places = [mount.target for mount in mounts]
    ways = (folder for place in places for folder in reversed(Path(place).parents))
    missing = dict.fromkeys(str(folder) for folder in ways if not folder.exists())
    return [folder for folder in missing if not any(f"{folder}/".startswith(f"{place}/") for place in places)]


def _open(folder: str, readonly: bool) -> list[str]:
    """Put a fresh folder over `folder`, with the same entries: a mount point can be added to it, and the machine's own
    stays clean."""
    arguments = [] if folder == "/" else ["--tmpfs", folder]
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_symlink():
            arguments += ["--symlink", str(Path(entry.path).readlink()), entry.path]
        else:
            of_kernel = f"{entry.path}/".startswith(("/dev/", "/proc/"))  # read-only, /dev/null takes nothing
            bind = "--ro-bind-try" if readonly and not of_kernel else "--dev-bind-try"
            arguments += [bind, entry.path, entry.path]
    return arguments
