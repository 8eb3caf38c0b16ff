"""The workbook's notebooks and manifests: where they are, and a copy of them that belongs to the learner.

A copy can be brought up to date by copying again: what the learner has changed since, or written, is never touched. A
notebook counts as changed when a cell's text is another; that it was run and saved changes nothing. `reset` puts the
workbook's own file back, and keeps what stood there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from k8sext import files
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
            names = ", ".join(Path(name).name for name in self.kept)
            said.append(f"{len(self.kept)} that you changed left alone though there is a newer one ({names})")
        return ", ".join(said) or "all files up to date"


INSTALLED, CHECKOUT = Path(__file__).parent / "workbook", Path(__file__).parents[1]
"""Where the two folders stand: in an installed package, or in the checkout this runs from."""


def origin() -> Path:
    """The folder that holds notebooks/ and manifests/."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def copy_to(folder: Path) -> Copied:
    """Copy notebooks and manifests into a folder, made if need be; files that the learner changed since the last copy
    stay as they are.

    Can be killed at any moment and called again. Raises ClusterError when the folder cannot be written.
    """
    copied = Copied()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record = _read_record(folder)
        for name, source in _files():
            content, target = source.read_bytes(), folder / name
            there = target.read_bytes() if target.exists() else None
            ours, theirs, last = _digest(name, content), _digest(name, there), record.get(name)
            if there is not None and ours in (theirs, last):
                record[name] = ours  # the workbook's file is the one that the learner began with
                continue
            if there is not None and theirs != last:
                copied.kept.append(name)
                continue
            (copied.new if there is None else copied.updated).append(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            files.replace(target, content)
            record[name] = ours
        _write_record(folder, record)
    except OSError as error:
        raise ClusterError(
            f"The notebooks cannot be copied to {folder}: {error.strerror}. Name another folder."
        ) from error
    return copied


def reset(folder: Path, wanted: Sequence[str]) -> list[str]:
    """Put the workbook's own files back into a copy, and move what stood there to a folder beside them, `kept`.

    `wanted` are beginnings of notebooks' names, as "05"; none means everything. Returns the paths of the files that
    were put back. Raises ClusterError when the folder is no copy, or a name is none of the workbook's.
    """
    if not (folder / RECORD).is_file():
        raise ClusterError(f"{folder} is no copy of the notebooks: `k8sext lab FOLDER` makes one.")
    known = dict(_files())
    chosen = [name for name in known if not wanted or Path(name).name.startswith(tuple(wanted))]
    for word in wanted:
        if not any(Path(name).name.startswith(word) for name in chosen):
            raise ClusterError(f"No notebook begins with {word!r}: name one as {FIRST_NOTEBOOK} or 00.")
    kept, put_back = folder / "kept" / datetime.now().strftime("%Y-%m-%d-%H%M%S"), list[str]()
    try:
        record = _read_record(folder)
        for name in chosen:
            target, content = folder / name, known[name].read_bytes()
            record[name] = _digest(name, content)
            if target.exists() and target.read_bytes() == content:
                continue
            if target.exists():
                (kept / name).parent.mkdir(parents=True, exist_ok=True)
                target.rename(kept / name)
            files.replace(target, content)
            put_back.append(name)
        _write_record(folder, record)
    except OSError as error:
        raise ClusterError(f"{folder} cannot be written: {error.strerror}.") from error
    return put_back


def own_copy() -> Path:
    """The folder of the learner's copy where none is named: this folder if it is one; else `work` in a checkout, which
    git ignores, or a folder in the home directory."""
    here = Path.cwd()
    for folder in (here, here.parent):
        if (folder / RECORD).is_file():
            return folder
    return Path.home() / "k8sext-workbook" if INSTALLED.is_dir() else CHECKOUT / "work"


def _files() -> Iterator[tuple[str, Path]]:
    for part, pattern in PARTS.items():
        for path in sorted((origin() / part).glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(origin()).as_posix(), path


def _read_record(folder: Path) -> dict[str, str]:
    """The digest that each file had when it was copied. A record that cannot be read counts as none: then nothing is
    overwritten."""
    try:
        return dict(json.loads((folder / RECORD).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _write_record(folder: Path, record: dict[str, str]) -> None:
    files.replace(folder / RECORD, json.dumps(record, indent=1, sort_keys=True))


def _digest(name: str, content: bytes | None) -> str:
    """A digest of a file, or of the text of a notebook's cells."""
    text = content or b""
    if name.endswith(".ipynb"):
        try:
            cells = [[cell["cell_type"], "".join(cell["source"])] for cell in json.loads(text)["cells"]]
            text = json.dumps(cells).encode()
        except (ValueError, TypeError, KeyError):
            pass  # it is no notebook any more: then it was changed
    return hashlib.sha256(text).hexdigest()
