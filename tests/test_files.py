"""Files that others read while we write them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from k8sext import files


@pytest.mark.parametrize("durable", [False, True])
def test_a_reader_meets_the_old_content_or_the_new(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "state.json"
    contents = {str(number) * 100_000 for number in range(4)}
    files.replace(path, next(iter(contents)), durable=durable)
    writers = [
        threading.Thread(target=lambda text=text: [files.replace(path, text, durable=durable) for _ in range(20)])
        for text in contents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_secret_is_private_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    files.replace(path, b"secret", mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"secret", 0o600)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(tmp_path / "folder", "text")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "key"]


def test_a_stamp_tells_a_file_from_the_one_that_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.stamp(path) is None
    files.replace(path, "a")
    first = files.stamp(path)
    assert first == files.stamp(path)
    files.replace(path, "a")
    assert files.stamp(path) != first


def test_the_last_lines_of_a_log_are_those_that_say_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert files.last_lines(log) == []
    log.write_text("x" * 10_000 + "\none\n\n  \ntwo\nthree\nfour\n\n")
    assert files.last_lines(log) == ["two", "three", "four"]
    assert files.last_lines(log, 1) == ["four"]
