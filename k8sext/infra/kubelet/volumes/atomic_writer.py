"""Replace many files at once, so that a reader sees the old ones or the new ones and never a mixture.

The files stand in a folder of their own; the link `..data` leads there, and what the reader opens are links through
`..data`. One rename of that link changes everything.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class File:
    """Content and permissions of one file."""

    content: bytes
    mode: int


def write(folder: Path, files: dict[str, File], group: int | None = None) -> bool:
    """Make `folder` hold exactly these files, by their relative paths; a `group` owns them and may read them.

    True if anything changed. Raises ValueError for a path that would leave the folder.
    """
    if group is not None:
        files = {name: File(file.content, file.mode | 0o440) for name, file in files.items()}
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or parts[0].startswith(".."):
            raise ValueError(f"{name!r} is no path inside a volume")
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "..data"
    if data.is_dir() and _read(data) == files:
        _link(folder, files)
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    try:
        _fill(fresh, files)
        if group is not None:
            _give(fresh, group)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    link = folder / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(data)
    _link(folder, files)
    for old in folder.iterdir():
        if old.name.startswith("..") and old.name not in ("..data", fresh.name):
            shutil.rmtree(old, ignore_errors=True)
    return True


def is_written(folder: Path) -> bool:
    """Does the folder hold what an earlier `write` put there?"""
    return (folder / "..data").is_dir()


def _fill(fresh: Path, files: dict[str, File]) -> None:
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    fresh.chmod(0o755)  # nobody else looks in before each file has its mode


def _give(fresh: Path, group: int) -> None:
    for path in (fresh, *fresh.rglob("*")):
        os.chown(path, -1, group)
        if path.is_dir():
            path.chmod(path.stat().st_mode | 0o2550)


def _read(data: Path) -> dict[str, File]:
    found = {}
    for parent, _, names in os.walk(data):
        for name in names:
            path = Path(parent) / name
            found[str(path.relative_to(data))] = File(path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def _link(folder: Path, files: dict[str, File]) -> None:
    wanted = {PurePosixPath(name).parts[0] for name in files}
    for name in wanted:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for path in folder.iterdir():
        if path.is_symlink() and not path.name.startswith("..") and path.name not in wanted:
            path.unlink()
