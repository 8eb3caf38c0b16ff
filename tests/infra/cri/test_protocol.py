"""The generated modules are what the protocol file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8sext.infra.cri.proto import regenerate


def test_the_generated_modules_are_those_of_the_protocol_file(tmp_path: Path) -> None:
    regenerate.generate(tmp_path)
    for name in ("api_pb2.py", "api_pb2.pyi", "api_pb2_grpc.py"):
        fresh = tmp_path / "k8sext" / "infra" / "cri" / "proto" / name
        assert fresh.read_text() == (regenerate.HERE / name).read_text(), (
            f"{name} is stale: run python -m {regenerate.__name__}"
        )


def test_a_protocol_file_that_cannot_be_compiled_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        regenerate.generate(tmp_path / "missing")
