"""Two ways to make a volume stand at a path: a bind mount, which wants privilege, or a link, which wants none.

`BindMounts` is what drivers do: the kernel shows the folder at a second place, read-only if asked. It needs
CAP_SYS_ADMIN, and in a pod `privileged: true` and `mountPropagation: Bidirectional`, or nobody outside the pod sees the
mount.

`Links` puts a symbolic link there. Every user may do that, and a runtime that mounts the path into a container follows
the link, so pods notice no difference. What a link cannot do: be read-only by itself (the kubelet mounts it read-only
into the container instead), keep the volume from being reached through `..` by programs on the node, or stand under a
tool that insists on a mount point. Links are relative, so they hold wherever the kubelet's folder is seen from, inside
the driver's pod or outside.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Protocol

from k8sext.infra.grpc import failed_precondition


class Publisher(Protocol):
    """How volumes are made to stand at paths. Every method may be called again, also after a SIGKILL in its middle."""

    def staged_at(self, staging: Path) -> Path:
        """What to publish from, given the staging path."""
        ...

    def place(self, source: Path, target: Path, readonly: bool = False) -> None:
        """Make `source` stand at `target`.

        Raises StatusError when something else stands there, OSError when the machine does not allow it.
        """
        ...

    def stands(self, target: Path) -> bool:
        """Whether something was placed there."""
        ...

    def remove(self, target: Path) -> None:
        """Take away what was placed at `target`, and nothing else."""
        ...


class Links:
    """Symbolic links."""

    def staged_at(self, staging: Path) -> Path:
        """The staging path belongs to the kubelet and stays a folder; the link stands in it."""
        return staging / "volume"

    def place(self, source: Path, target: Path, readonly: bool = False) -> None:
        """Link `target` to `source`."""
        parent = target.parent.resolve()
        wanted = os.path.relpath(source.parent.resolve() / source.name, parent)
        if self.stands(target):
            if str(target.readlink()) == wanted:
                return
            target.unlink()
        elif target.exists():
            _remove_empty(target)
        target.symlink_to(wanted)

    def stands(self, target: Path) -> bool:
        """Whether a link is there."""
        return target.is_symlink()

    def remove(self, target: Path) -> None:
        """Remove the link."""
        if self.stands(target):
            target.unlink()


class BindMounts:
    """Bind mounts."""

    def staged_at(self, staging: Path) -> Path:
        """The staging path itself is mounted upon."""
        return staging

    def place(self, source: Path, target: Path, readonly: bool = False) -> None:
        """Mount `source` at `target`."""
        target.mkdir(parents=True, exist_ok=True)
        if not self.stands(target):
            _run("mount", "--bind", str(source), str(target))
        if readonly:
            _run("mount", "-o", "remount,bind,ro", str(target))

    def stands(self, target: Path) -> bool:
        """Whether something is mounted there."""
        return str(target.parent.resolve() / target.name) in mount_points()

    def remove(self, target: Path) -> None:
        """Unmount, and remove the empty folder that was mounted upon."""
        while self.stands(target):
            _run("umount", str(target))
        with contextlib.suppress(FileNotFoundError):
            _remove_empty(target)


def mount_points() -> set[str]:
    """Every place at which something is mounted, from /proc/self/mountinfo, which writes a blank as \\040 (proc(5))."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return {os.fsdecode(line.split()[4].decode("unicode_escape").encode("latin-1")) for line in lines}


def _remove_empty(folder: Path) -> None:
    """Remove an empty folder. What holds files is not ours: never remove it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        raise
    except OSError as error:
        message = f"at {folder} stands something that this driver did not put there: remove it"
        raise failed_precondition(message) from error


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(
            f"{' '.join(command)}: {done.stderr.strip()} (bind mounts want privilege; --publish link wants none)"
        )
