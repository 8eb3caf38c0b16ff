"""A signal never goes to a process that has got the number of the one that was meant."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from k8sext.infra.cri import cleanup
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim import processes
from k8sext.infra.cri.shim.supervisor import Program
from k8sext.infra.cri.store import Container, Store


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is nobody's container."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield process
        process.kill()


def lives(process: subprocess.Popen[bytes]) -> bool:
    """Whether it still does its work: one that was sent SIGKILL before does nothing any more."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(b"here\n")
    except BrokenPipeError:
        return False
    return process.stdout.readline() == b"here\n"


def test_a_signal_goes_only_to_the_process_that_is_meant(stranger: subprocess.Popen[bytes]):
    processes.send_signal(stranger.pid, signal.SIGKILL, lambda: False)
    assert lives(stranger)
    processes.send_signal(stranger.pid, signal.SIGKILL, lambda: True)
    assert stranger.wait(10) == -signal.SIGKILL
    processes.send_signal(stranger.pid, signal.SIGKILL, lambda: True)  # gone: no error


@pytest.mark.parametrize("code", [None, 0])
def test_a_container_that_has_ended_passes_no_signal_to_who_has_its_numbers_now(
    stranger: subprocess.Popen[bytes], code: int | None
):
    no_streams: Any = None
    started = SimpleNamespace(init=stranger.pid if code == 0 else 1, main=stranger.pid)
    program = Program("id", 0, started, no_streams)  # pyright: ignore[reportArgumentType]
    program.code = code
    program.signal(signal.SIGKILL)
    if code == 0:
        program.kill()
    assert lives(stranger)


def test_clearing_up_ends_only_what_was_recorded(stranger: subprocess.Popen[bytes], tmp_path: Path):
    folder = tmp_path / "containers" / "one"
    folder.mkdir(parents=True)
    record = {"init": stranger.pid, "started": (processes.start_time(stranger.pid) or 0) - 1}
    (folder / "process.json").write_text(json.dumps(record))
    cleanup.stop([tmp_path])
    assert lives(stranger)


async def test_recorded_numbers_count_only_while_their_processes_run(stranger: subprocess.Popen[bytes], tmp_path: Path):
    store = Store(tmp_path)
    container = Container("pod", api.ContainerConfig())
    store.save_container(container)
    here, born = processes.start_time(stranger.pid) or 0, stranger.pid
    for record, known in [
        ({"init": born, "main": 1, "started": here}, False),  # its main process has ended
        ({"init": 1, "main": born, "started": 0}, False),  # its init was another
    ]:
        (store.container_folder(container) / "process.json").write_text(json.dumps(record))
        assert (store.process_of(container) is not None) is known
