"""Reading logs in the format of CRI."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from k8sext.infra.kubelet.server.logs import Wanted, read, tail

LINES = [f"2026-11-22T18:00:0{second}.123456789Z stdout F line {second}" for second in range(5)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


async def text(path: Path, **wanted: object) -> str:
    return b"".join([part async for part in read(path, Wanted(**wanted), lambda: True)]).decode()  # type: ignore[arg-type]


async def test_the_whole_log_is_what_the_container_wrote(log: Path) -> None:
    assert await text(log) == "line 0\nline 1\nline 2\nline 3\nline 4\n"


@pytest.mark.parametrize(
    ("lines", "expected"), [(0, ""), (2, "line 3\nline 4\n"), (99, "line 0\nline 1\nline 2\nline 3\nline 4\n")]
)
async def test_tail_shows_the_last_lines(log: Path, lines: int, expected: str) -> None:
    assert await text(log, tail_lines=lines) == expected
    assert tail(log, lines).decode() == expected


async def test_tail_reads_long_logs_backwards(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("".join(f"2026-11-22T18:00:00Z stdout F {number:0200d}\n" for number in range(2000)))
    assert await text(path, tail_lines=1500) == "".join(f"{number:0200d}\n" for number in range(500, 2000))


async def test_since_leaves_out_what_is_older(log: Path) -> None:
    assert await text(log, since=datetime(2026, 11, 22, 18, 0, 3, tzinfo=UTC)) == "line 3\nline 4\n"


async def test_timestamps_stand_before_each_line(log: Path) -> None:
    assert await text(log, timestamps=True, tail_lines=1) == "2026-11-22T18:00:04.123456789Z line 4\n"


async def test_the_limit_cuts_within_a_line(log: Path) -> None:
    assert await text(log, limit_bytes=9) == "line 0\nli"


async def test_parts_of_a_line_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(
        "2026-11-22T18:00:00Z stdout P be\n2026-11-22T18:00:00Z stdout P gi\n2026-11-22T18:00:00Z stdout F n\n"
    )
    assert await text(path) == "begin\n"
    assert await text(path, timestamps=True) == "2026-11-22T18:00:00Z begin\n"


@pytest.mark.parametrize(
    "stamp", ["2026-11-22T18:00:00+00:00", "2026-11-22T20:00:00.5+02:00", "2026-11-22T18:00:00.123456789Z"]
)
async def test_all_ways_of_writing_the_time_are_understood(tmp_path: Path, stamp: str) -> None:
    path = tmp_path / "0.log"
    path.write_text(f"{stamp} stderr F hello\n")
    assert await text(path, since=datetime(2026, 11, 22, 18, tzinfo=UTC)) == "hello\n"
    assert await text(path, since=datetime(2026, 11, 22, 18, 1, tzinfo=UTC)) == ""


async def test_follow_shows_new_lines_and_survives_rotation_until_the_container_ends(log: Path) -> None:
    over, seen = False, asyncio.Queue[bytes]()

    async def follow() -> None:
        async for part in read(log, Wanted(follow=True, tail_lines=0), lambda: over):
            seen.put_nowait(part)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    with log.open("a") as file:
        file.write("2026-11-22T18:00:05Z stdout F new\n")
    assert await asyncio.wait_for(seen.get(), 15) == b"new\n"
    log.rename(log.with_suffix(".old"))
    log.write_text("2026-11-22T18:00:06Z stdout F rotated\n")
    assert await asyncio.wait_for(seen.get(), 15) == b"rotated\n"
    over = True
    await asyncio.wait_for(task, 15)
