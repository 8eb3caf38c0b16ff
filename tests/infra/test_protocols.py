"""The generated modules are what the protocol files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import protocols


def test_the_generated_modules_are_those_of_the_protocol_files(tmp_path: Path) -> None:
    protocols.generate(tmp_path)
    assert {proto.name for proto in protocols.PROTOS} == {"api.proto", "csi.proto", "registration.proto"}
    for proto in protocols.PROTOS:
        for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
            there = proto.with_name(proto.stem + end)
            fresh = tmp_path / there.relative_to(protocols.ROOT)
            assert fresh.read_text() == there.read_text(), f"{there} is stale: run python -m {protocols.__name__}"


def test_a_protocol_file_that_cannot_be_compiled_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        protocols.generate(tmp_path / "missing")
