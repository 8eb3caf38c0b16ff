"""Files that other processes read while we write them.

Programs that must start in a moment and stay small use it too, so it imports next to nothing.
"""

# pathlib would cost a tenth of the shim's memory: os it is
# ruff: noqa: PTH105, PTH108, PTH116, PTH118, PTH123

from __future__ import annotations

import contextlib
import os
import stat
from _thread import get_native_id


def replace(path: str | os.PathLike[str], data: str | bytes, *, durable: bool = False, mode: int = 0o666) -> None:
    """Write a file in one step: a reader meets the old content or the new, and never a part of it. Raises OSError.

    The new content is written beside the file and renamed over it. `mode` counts from the first byte on (less the
    umask): 0o600 for what holds a secret.

    Plain (the usual way) is enough against every death of a process. After a power cut the file may be old, or, on some
    file systems, empty: right for what is made anew at the next start, such as the state of processes that died with
    the machine. `durable` waits for the disk, some milliseconds: right for what outlives the machine's life and exists
    nowhere else, such as which address belongs to which pod.
    """
    folder, name = os.path.split(path)
    # The number of this thread: no two writers at work share it, and a later one clears what a killed one left.
    aside = os.path.join(folder, f".{name}.{get_native_id()}.tmp")
    _remove(aside)
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        _remove(aside)
        raise
    if durable:
        directory = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)  # the rename itself
        finally:
            os.close(directory)


def stamp(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return what tells one state of a file from the next: time of the last change (ns) and inode. None: there is no
    file.

    To follow a file, compare the stamp with the one before: a file that replaced another may have the same time.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def disk_usage(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Return the bytes on the disk and the number of inodes of a folder and all that it holds, as `du` counts: what has
    several names is counted once. What goes while one looks counts as gone."""
    inodes: dict[tuple[int, int], int] = {}
    waiting = [os.fspath(folder)]
    while waiting:
        path = waiting.pop()
        try:
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode):
                waiting += [entry.path for entry in os.scandir(path)]
        except OSError:
            continue
        inodes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(inodes.values()), len(inodes)


def last_lines(path: str | os.PathLike[str], count: int = 3) -> list[str]:
    """Return the last lines of a log that say something (from its last 8 KiB), for an error message. None, if there is
    no log."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
