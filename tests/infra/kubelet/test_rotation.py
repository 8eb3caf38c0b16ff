"""Log rotation: a large log is put aside and a new one begun; the oldest go."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.server import rotation
from tests.infra.kubelet.fakes import FakeApi, FakeRuntime, surroundings


async def test_a_log_is_rotated_and_the_oldest_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "0.log"
    runtime = FakeRuntime()
    runtime.sandbox_of["c"] = "s"
    metadata = cri.ContainerMetadata(name="main")
    runtime.containers["c"] = cri.ContainerStatus(
        id="c", metadata=metadata, state=cri.CONTAINER_RUNNING, log_path=str(log)
    )
    async with surroundings(tmp_path, runtime, FakeApi()) as parts:
        for number in range(7):
            log.write_text(f"log {number}")
            monkeypatch.setattr(rotation.time, "strftime", lambda _, n=number: f"20261122-18000{n}")
            await rotation.rotate(parts.runtime, log)
    assert log.read_text() == ""
    assert [path.read_text() for path in sorted(tmp_path.glob("0.log.*"))] == ["log 3", "log 4", "log 5", "log 6"]


async def test_a_log_that_nobody_writes_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("old")
    async with surroundings(tmp_path, FakeRuntime(), FakeApi()) as parts:
        await rotation.rotate(parts.runtime, log)
    assert log.read_text() == "old"
