"""What the driver keeps on the disk, and nothing else: it has no memory that a SIGKILL could take.

    volumes/<id>/volume.json       what was asked for, and where the volume stands now
    volumes/<id>/data/             the files of the pod
    snapshots/<id>/snapshot.json
    snapshots/<id>/data/           a copy
    aside/                         what is being made or removed; emptied at the start

A volume comes into being by one rename out of `aside` and ends by one rename into it, so there is never half of one.
Its id is made from its name: to ask twice for the same name is to ask for the same folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

VOLUME_ID, SNAPSHOT_ID = re.compile("vol-[0-9a-f]{20}"), re.compile("snap-[0-9a-f]{20}")


@dataclass
class Volume:
    """One volume. `source` is the id of what it was copied from; `published` has the access mode by target path."""

    id: str
    name: str
    capacity: int
    source: str = ""
    staged: str = ""
    published: dict[str, str] = field(default_factory=dict)


@dataclass
class Snapshot:
    """One copy of a volume, made at `created` (nanoseconds since the epoch); `size` is the volume's capacity then."""

    id: str
    name: str
    volume: str
    size: int
    created: int = field(default_factory=time.time_ns)


Item = TypeVar("Item", Volume, Snapshot)


class Store:
    """The volumes and snapshots below one folder."""

    def __init__(self, root: Path) -> None:
        """Take the folder for this process's life.

        Raises ValueError when another driver has it, OSError when it cannot be written.
        """
        self.root = root.absolute()
        for name in ("volumes", "snapshots", "aside"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._lock = (self.root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another driver uses {root}: stop it, or choose another folder with --data") from None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        for rest in (self.root / "aside").iterdir():
            shutil.rmtree(rest)

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

    def lock(self, id: str) -> asyncio.Lock:
        """Held by the one call that works on this volume or snapshot."""
        return self._locks.setdefault(id, asyncio.Lock())

    def volume(self, id: str) -> Volume | None:
        """Return a volume by id, None when there is none (or the id is none of ours, and no path is made from it)."""
        return _read(self._file(id), Volume) if VOLUME_ID.fullmatch(id) else None

    def snapshot(self, id: str) -> Snapshot | None:
        """Return a snapshot by id, None when there is none."""
        return _read(self._file(id), Snapshot) if SNAPSHOT_ID.fullmatch(id) else None

    def volumes(self) -> Iterator[Volume]:
        """All volumes, by id."""
        return (found for folder in sorted((self.root / "volumes").iterdir()) if (found := self.volume(folder.name)))

    def snapshots(self) -> Iterator[Snapshot]:
        """All snapshots, by id."""
        folders = sorted((self.root / "snapshots").iterdir())
        return (found for folder in folders if (found := self.snapshot(folder.name)))

    def data(self, id: str) -> Path:
        """The folder with the files."""
        return self._file(id).parent / "data"

    async def add(self, item: Volume | Snapshot, source: str = "") -> None:
        """Make a volume or snapshot, with a copy of the files of `source`, an id, if one is given."""
        aside = self._aside()
        data = aside / "data"
        data.mkdir(parents=True)
        data.chmod(0o777)  # whoever a container runs as may write, as in an emptyDir
        if source:
            await asyncio.to_thread(_copy, self.data(source), data)
        (aside / self._file(item.id).name).write_text(json.dumps(asdict(item)))
        aside.rename(self._file(item.id).parent)

    def save(self, volume: Volume) -> None:
        """Write down a change of a volume: aside, then rename, so that a reader meets the old or the new."""
        file = self._file(volume.id)
        aside = file.with_suffix(".new")
        aside.write_text(json.dumps(asdict(volume)))
        aside.replace(file)

    async def remove(self, id: str) -> None:
        """Remove a volume or snapshot with its files."""
        aside = self._aside()
        self._file(id).parent.rename(aside)
        await asyncio.to_thread(shutil.rmtree, aside)

    def free_bytes(self) -> int:
        """What the disk below has room for."""
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def _file(self, id: str) -> Path:
        kind = "snapshot" if id.startswith("snap-") else "volume"
        return self.root / f"{kind}s" / id / f"{kind}.json"

    def _aside(self) -> Path:
        return self.root / "aside" / secrets.token_hex(8)


def id_of(kind: str, name: str) -> str:
    """The id of the volume ("vol") or snapshot ("snap") of this name."""
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:20]}"


def usage(folder: Path) -> tuple[int, int]:
    """Bytes and inodes that the files below a folder take; files that go meanwhile do not count."""
    used = count = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                found = os.lstat(os.path.join(parent, name))  # noqa: PTH118 (a million files: no Path for each)
            except FileNotFoundError:
                continue
            used, count = used + found.st_blocks * 512, count + 1
    return used, count


def _read(file: Path, kind: type[Item]) -> Item | None:
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return kind(**content)


def _copy(source: Path, target: Path) -> None:
    """Copy files with owners, modes, times and links; blocks are shared where the file system can do that."""
    done = subprocess.run(["cp", "-a", f"{source}/.", str(target)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target.parent)
        raise OSError(f"the copy failed: {done.stderr.strip()[-300:]}")
