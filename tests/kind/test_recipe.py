"""The recipe's own parts: what runc is asked for, and image archives."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from k8sext.cluster.errors import ClusterError
from tests.kind import __main__ as command
from tests.kind import archive, plugin
from tests.kind.daemon import CAPABILITIES, CannotRun, missing_capabilities
from tests.kind.kernel import removals

RUNC = Path(__file__).parent / "runc.py"
ASKED = {
    "args": ["sh"],
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]},
}


@pytest.fixture
def runc(tmp_path: Path):
    """Call the wrapper with a runc that prints its arguments."""
    (tmp_path / "runc").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "runc").chmod(0o755)

    def call(*arguments: str) -> str:
        command = [sys.executable, "-IS", str(RUNC), "CAP_SYS_RESOURCE", *arguments]
        environment = {"PATH": f"{tmp_path}:{os.defpath}"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    return call


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_container_is_asked_for_without_the_capability_that_is_missing(runc, tmp_path: Path, command: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"ociVersion": "1.0.2", "process": ASKED}))
    assert runc("--log", "x", command, "--bundle", str(tmp_path), "id") == f"--log x {command} --bundle {tmp_path} id"
    mended = json.loads((tmp_path / "config.json").read_text())
    assert mended["process"]["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": []}
    assert mended["ociVersion"] == "1.0.2"


def test_so_is_a_process_that_joins_it(runc, tmp_path: Path) -> None:
    (tmp_path / "process.json").write_text(json.dumps(ASKED))
    runc("exec", f"--process={tmp_path}/process.json", "id")
    assert json.loads((tmp_path / "process.json").read_text())["capabilities"]["bounding"] == ["CAP_CHOWN"]


def test_other_commands_are_handed_on(runc) -> None:
    assert runc("state", "id") == "state id"


def test_missing_capabilities_are_read_from_the_bounding_set() -> None:
    everything = (1 << len(CAPABILITIES.split())) - 1
    assert missing_capabilities(f"Name:\tsh\nCapBnd:\t{everything:016x}\n") == []
    assert missing_capabilities(f"CapBnd:\t{everything & ~(1 << 24):016x}\n") == ["CAP_SYS_RESOURCE"]


def test_an_archive_holds_one_image_with_its_files(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("x")
    archive.write(tmp_path / "a.tar", "example/one:1", {"/usr/local/bin/program": program}, ["/program"])
    with tarfile.open(tmp_path / "a.tar") as tar:

        def read(name: str) -> bytes:
            member = tar.extractfile(name)
            assert member is not None
            return member.read()

        (entry,) = json.loads(read("manifest.json"))
        assert entry["RepoTags"] == ["example/one:1"]
        assert json.loads(read(entry["Config"]))["config"]["Entrypoint"] == ["/program"]
        (tmp_path / "layer.tar").write_bytes(read("layer.tar"))
    with tarfile.open(tmp_path / "layer.tar") as layer:
        found = layer.getmember("usr/local/bin/program")
        assert (found.mode, found.size) == (0o755, 1)


def test_of_the_ways_of_packets_only_what_docker_added_is_taken_out() -> None:
    before = "*filter\n:FORWARD ACCEPT [1:2]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"
    added = ":DOCKER - [0:0]\n-A FORWARD -o br-1 -j DOCKER\n-A FORWARD -j MINE\n"
    after = before.replace("[1:2]", "[3:4]").replace("COMMIT\n", f"{added}COMMIT\n*nat\n:DOCKER - [0:0]\n")
    assert [" ".join(command) for command in removals(before, after)] == [
        "iptables -t filter -D FORWARD -o br-1 -j DOCKER",
        "iptables -t filter -F DOCKER",
        "iptables -t nat -F DOCKER",
        "iptables -t filter -X DOCKER",
        "iptables -t nat -X DOCKER",
    ]


@pytest.mark.parametrize(
    "obstacle", [CannotRun("no Docker"), ClusterError("no kind"), PermissionError("read-only /proc/sys")]
)
def test_what_stands_in_the_way_is_said_in_one_line_and_fails_only_where_it_must_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], obstacle: Exception
) -> None:
    def docker_daemon() -> None:
        raise obstacle

    monkeypatch.setattr(command, "docker_daemon", docker_daemon)
    assert command.main(["--if-possible"]) == 0
    assert command.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [f"The tests on kind were not run: {obstacle}"] * 2


def test_where_no_time_is_left_nothing_is_begun(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--if-possible", "--minutes", "0"]) == 0
    assert "no time is left" in capsys.readouterr().out


def test_when_the_time_is_over_that_is_said_and_a_part_that_failed_still_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def over(name: str, *_: object) -> int:
        if name == "nodes":
            raise command.OutOfTime
        return failed

    monkeypatch.setattr(command, "docker_daemon", contextlib.nullcontext)
    monkeypatch.setattr(command, "reachable_images", lambda progress: contextlib.nullcontext())
    here = SimpleNamespace(layout=SimpleNamespace(data=Path("/here")))
    monkeypatch.setattr(command, "lab", lambda: contextlib.nullcontext(here))
    monkeypatch.setattr(command, "run", over)
    for failed in (0, 1):
        assert command.main(["--if-possible", "--minutes", "60"]) == failed
    assert "were stopped after 60 minutes, with this done: cluster." in capsys.readouterr().out


def test_a_name_of_no_test_is_told() -> None:
    with pytest.raises(pytest.UsageError, match="names tests that there are not"):
        plugin.pytest_collection_modifyitems(mock.Mock(), [])
