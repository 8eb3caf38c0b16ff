"""The recipe's own parts: what runc is asked for, and image archives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.kind import archive
from tests.kind.daemon import CAPABILITIES, missing_capabilities

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
