"""What the tests of the infrastructure share: the real kubelet, built from its Go module where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.programs.progress import LineProgress
from tests.kind import programs


@pytest.fixture(scope="session")
def real_kubelet() -> Path:
    """The program."""
    try:
        return programs.kubelet(LineProgress())
    except ClusterError as problem:
        pytest.skip(f"needs the real kubelet, which cannot be built here: {problem}")
