"""cnitool with the plugin k8sext-bridge (see README.md here)."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8sext.cluster.errors import ClusterError
from k8sext.infra.cri.handlers.oci.capability_checks import obstacles
from tests.conformance import cni_tool, readme


@pytest.fixture(scope="module")
def found() -> list[cni_tool.Step]:
    if reasons := obstacles():
        pytest.skip(f"the handler oci cannot be used here: {'; '.join(reasons)}")
    try:
        program: Path = cni_tool.judge()
    except ClusterError as error:
        pytest.skip(f"cnitool cannot be had: {error}")
    return cni_tool.run(program)


def test_every_call_ends_as_it_must(found: list[cni_tool.Step]) -> None:
    assert [step for step in found if not step.good] == []
    assert len(found) == cni_tool.SCRIPT.count("\nstep ")


def test_the_table_says_what_was_found(found: list[cni_tool.Step]) -> None:
    assert cni_tool.table(found) in readme.README.read_text(), "run `python -m tests.conformance`"
