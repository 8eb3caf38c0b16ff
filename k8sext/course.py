"""The workbook's notebooks and manifests: where they are, and a copy of them that belongs to the learner.

A copy can be brought up to date by copying again: what the learner has changed since, or written, is never touched.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from k8sext.cluster.errors import ClusterError

FIRST_NOTEBOOK = "00-start-here.ipynb"
RECORD = ".k8sext.json"
PARTS = {"notebooks": "*.ipynb", "manifests": "**/*"}


@dataclass
class Copied:
    """What a copy did, as paths below its folder."""

    new: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = [
            f"{len(files)} files {word}"
            for word, files in (("new", self.new), ("brought up to date", self.updated))
            if files
        ]
        if self.kept:
            said.append(f"{len(self.kept)} that you changed left alone")
        return ", ".join(said) or "all files up to date"


INSTALLED, CHECKOUT = Path(__file__).parent / "workbook", Path(__file__).parents[1]
"""Where the two folders stand: in an installed package, or in the checkout this runs from."""


def origin() -> Path:
    """The folder that holds notebooks/ and manifests/."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def copy_to(folder: Path) -> Copied:
    """Copy notebooks and manifests into a folder, made if need be; files that the learner changed since the last copy stay as they are.

    Can be killed at any moment and called again. Raises ClusterError when the folder cannot be written.
    """
    copied = Copied()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record = _read_record(folder)
        for name, source in _files():
            content, target = source.read_bytes(), folder / name
            there = target.read_bytes() if target.exists() else None
            if there not in (None, content) and _digest(there) != record.get(name):
                copied.kept.append(name)
                continue
            if there is None:
                copied.new.append(name)
            elif there != content:
                copied.updated.append(name)
            if there != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(target, content)
            record[name] = _digest(content)
        _write(folder / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise ClusterError(
            f"The notebooks cannot be copied to {folder}: {error.strerror}. Name another folder."
        ) from error
    return copied


def _files() -> Iterator[tuple[str, Path]]:
    for part, pattern in PARTS.items():
        for path in sorted((origin() / part).glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(origin()).as_posix(), path


def _read_record(folder: Path) -> dict[str, str]:
    """The digest that each file had when it was copied. A record that cannot be read counts as none: then nothing is overwritten."""
    try:
        return dict(json.loads((folder / RECORD).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _digest(content: bytes | None) -> str:
    return hashlib.sha256(content or b"").hexdigest()


def _write(target: Path, content: bytes) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.replace(target)
