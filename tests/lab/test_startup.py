"""The start-up file that `k8sext lab` gives its kernels."""

from __future__ import annotations

import pytest

from k8sext import lab


@pytest.mark.parametrize("own", ["", "/home/me/start.py"])
def test_a_lab_within_a_lab_runs_the_learners_own_file_and_never_ours_twice(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", own)
    expected = {"PYTHONSTARTUP": str(lab.STARTUP), "K8SEXT_PYTHONSTARTUP": own}
    for _ in range(2):
        assert lab._for_kernels() == expected
        for name, value in expected.items():
            monkeypatch.setenv(name, value)
