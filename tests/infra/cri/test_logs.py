"""Logs are what a kubelet can read: complete, in order, cut where lines are long, rotated without loss."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim import logs
from k8sext.infra.cri.shim.logs import LONGEST_LINE, CriLog

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([PF]) (.*)")


def read(path: Path) -> list[tuple[str, ...]]:
    return [LINE.fullmatch(line).groups() for line in path.read_text().split("\n")[:-1]]  # type: ignore[union-attr]


def test_each_line_has_time_stream_and_tag(tmp_path: Path) -> None:
    log = CriLog(str(tmp_path / "log"))
    log.write("stdout", b"one\n\ntw")
    log.write("stderr", b"problem\n")
    log.write("stdout", b"o\n")
    log.close()
    expected = [("stdout", "F", "one"), ("stdout", "F", ""), ("stderr", "F", "problem"), ("stdout", "F", "two")]
    assert read(tmp_path / "log") == expected


def test_a_long_line_is_cut_into_partial_ones(tmp_path: Path) -> None:
    log = CriLog(str(tmp_path / "log"))
    log.write("stdout", b"a" * (2 * LONGEST_LINE + 5) + b"\n")
    log.close()
    assert [(tag, len(text)) for _, tag, text in read(tmp_path / "log")] == [
        ("P", LONGEST_LINE),
        ("P", LONGEST_LINE),
        ("F", 5),
    ]


def test_what_has_no_newline_at_the_end_is_not_lost_and_gets_none(tmp_path: Path) -> None:
    log = CriLog(str(tmp_path / "log"))
    log.write("stdout", b"prompt: ")
    assert read(tmp_path / "log") == []
    log.close()
    assert read(tmp_path / "log") == [("stdout", "P", "prompt: ")]


def test_after_a_rotation_lines_go_to_the_new_file(tmp_path: Path) -> None:
    log = CriLog(str(tmp_path / "log"))
    log.write("stdout", b"old\nhal")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.reopen()
    log.write("stdout", b"f\n")
    log.close()
    assert read(tmp_path / "log.1") == [("stdout", "F", "old")]
    assert read(tmp_path / "log") == [("stdout", "F", "half")]


@given(st.lists(st.sampled_from([b"x", b"\n", b"abc", b"abcd", b"abcde", b"a\nb"]), max_size=12))
def test_pieces_in_any_cut_give_back_the_text(tmp_path_factory: Any, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "LONGEST_LINE", 4)
        log = CriLog(str(path))
        for piece in pieces:
            log.write("stdout", piece)
        log.close()
    text = "".join(found + ("\n" if tag == "F" else "") for _, tag, found in read(path))
    assert text == b"".join(pieces).decode()


async def test_a_container_that_prints_much_loses_nothing(runtime: Any) -> None:
    container = await runtime.run(
        ["python", "-c", "import sys\nfor n in range(20000): print(n, file=(sys.stdout, sys.stderr)[n % 2])"]
    )
    await runtime.ended(container)
    lines = [line.split(" ") for line in runtime.log()]
    assert [int(text) for stream, _, text in lines if stream == "stdout"] == list(range(0, 20000, 2))
    assert [int(text) for stream, _, text in lines if stream == "stderr"] == list(range(1, 20000, 2))


async def test_the_log_is_complete_when_the_container_has_exited(runtime: Any) -> None:
    for number in range(5):
        await runtime.ended(await runtime.shell(f"echo begin; echo end-{number}", name=f"c{number}"))
        assert runtime.log(f"c{number}") == ["stdout F begin", f"stdout F end-{number}"]


async def test_the_log_of_a_running_container_is_reopened(runtime: Any) -> None:
    gate = runtime.logs / "gate"
    os.mkfifo(gate)
    container = await runtime.shell(f"echo old; read line < {gate}; echo new; sleep 1000")
    await runtime.logged("stdout F old")
    (runtime.logs / "main.log").rename(runtime.logs / "main.log.1")
    await runtime.calls.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container))
    gate.write_text("go\n")
    await runtime.logged("stdout F new")
    assert runtime.log() == ["stdout F new"]


async def test_the_log_of_an_exited_container_cannot_be_reopened(runtime: Any) -> None:
    container = await runtime.run(["true"])
    await runtime.ended(container)
    error = await runtime.refusal(
        runtime.calls.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container))
    )
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
