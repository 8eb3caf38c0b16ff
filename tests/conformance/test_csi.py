"""csi-sanity, the official judge of CSI drivers, on the driver csi.k8sext.dev (see README.md here)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k8sext.cluster.errors import Unavailable
from tests.conformance import csi_sanity, readme

SKIPPED_AT_MOST = 35


@pytest.fixture(scope="module")
def judge() -> Path:
    try:
        return csi_sanity.judge()
    except Unavailable as reason:
        pytest.skip(f"csi-sanity cannot be had: {reason}")


@pytest.mark.parametrize("publish", ["link", "bind"])
def test_no_case_fails(judge: Path, publish: str) -> None:
    if publish == "bind" and os.geteuid() != 0:
        pytest.skip("bind mounts want root")
    found = csi_sanity.run(judge, publish)
    assert [
        f"{case.name}: {case.message}" for case in found if case.state not in ("passed", "skipped", "pending")
    ] == []
    assert sum(case.state == "skipped" for case in found) <= SKIPPED_AT_MOST


def test_the_table_says_what_was_found(judge: Path) -> None:
    table = csi_sanity.table(csi_sanity.run(judge, "link"))
    assert table in readme.README.read_text(), "run `python -m tests.conformance`"
