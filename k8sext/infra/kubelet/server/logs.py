"""Logs: files in the format of CRI, one line for each write of the container.

2026-11-22T18:00:00.123456789Z stdout F a whole line
2026-11-22T18:00:00.123456790Z stderr P the beginning of a long li
2026-11-22T18:00:00.123456791Z stderr F ne
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 16
PAUSE = 0.1
STAMP = re.compile(r"(.{19})(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Wanted:
    """Which part of a log, and how to show it."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


async def read(path: Path, wanted: Wanted, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield what was logged. With `follow` go on, through rotation too, until `is_over` says that the container
    writes no more."""
    left = wanted.limit_bytes
    show = _Renderer(wanted)
    async for line in _lines(path, wanted, is_over):
        text = show(line)
        if left is not None:
            text = text[:left]
            left -= len(text)
        if text:
            yield text
        if left == 0:
            return


def tail(path: Path, lines: int) -> bytes:
    """The text of the last lines of a log."""
    show = _Renderer(Wanted())
    with path.open("rb") as file:
        _seek_lines(file, lines)
        return b"".join(show(line) for line in file if line.endswith(b"\n"))


class _Renderer:
    """From the lines of the file to what the container wrote."""

    def __init__(self, wanted: Wanted) -> None:
        self._since, self._timestamps = wanted.since, wanted.timestamps
        self._at_line_start = True

    def __call__(self, line: bytes) -> bytes:
        stamp, _, rest = line.rstrip(b"\n").partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if self._since:
            if _time(stamp) < self._since:
                return b""
            self._since = None
        prefix = stamp + b" " if self._timestamps and self._at_line_start else b""
        self._at_line_start = not tag.startswith(b"P")
        return prefix + text + (b"\n" if self._at_line_start else b"")


async def _lines(path: Path, wanted: Wanted, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    file, rest = path.open("rb"), b""
    try:
        if wanted.tail_lines is not None:
            _seek_lines(file, wanted.tail_lines)
        while True:
            over = not wanted.follow or is_over()  # asked before reading, so that nothing written before is missed
            while block := file.read(BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    yield line
            if _is_rotated(path, file):
                file.close()
                file, rest = path.open("rb"), b""
            elif over:
                return
            else:
                await asyncio.sleep(PAUSE)
    finally:
        file.close()


def _is_rotated(path: Path, file: BinaryIO) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:  # renamed, the new one is not there yet
        return False
    return now.st_ino != os.fstat(file.fileno()).st_ino


def _seek_lines(file: BinaryIO, lines: int) -> None:
    """Go to where the last `lines` lines begin, reading backwards."""
    position = end = file.seek(0, 2)
    found = -1 if lines else 0
    while position > 0 and lines:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        for index in range(len(block) - 1, -1, -1):
            if block[index] == 10:
                found += 1
                if found == lines:
                    file.seek(position + index + 1)
                    return
    file.seek(0 if lines else end)


def _time(stamp: bytes) -> datetime:
    """RFC 3339 with nanoseconds, of which a datetime can hold only micro."""
    if not (match := STAMP.fullmatch(stamp.decode(errors="replace"))):
        return datetime.min.replace(tzinfo=UTC)
    whole, fraction, zone = match.groups()
    return datetime.fromisoformat(f"{whole}.{(fraction or '')[:6]:0<6}{zone}")
