"""The generated modules are what the protocol files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8sext.infra.csi.proto import regenerate


def test_the_generated_modules_are_those_of_the_protocol_files(tmp_path: Path) -> None:
    regenerate.generate(tmp_path)
    for proto in regenerate.PROTOS:
        for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
            name = proto.stem + end
            fresh = tmp_path / "k8sext" / "infra" / "csi" / "proto" / name
            assert fresh.read_text() == (regenerate.HERE / name).read_text(), (
                f"{name} is stale: run python -m {regenerate.__name__}"
            )


def test_a_protocol_file_that_cannot_be_compiled_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        regenerate.generate(tmp_path / "missing")
