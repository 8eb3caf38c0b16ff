"""What fails beside others is run again alone to diagnose, and the first result counts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebooks import __main__ as notebooks
from tests.notebooks import results

ROOT = Path(__file__).parents[2]
SUITE = """
import os
import pytest

def note(name):
    with open("ran", "a") as file:
        file.write(name + " ")

def test_good():
    note("good")

def test_other():
    note("other")
    assert {other}

@pytest.mark.parametrize("id", [{id}])
def test_id(id):
    note("id")
"""
ALONE = '"PYTEST_XDIST_WORKER" not in os.environ'


@pytest.mark.parametrize(
    ("other", "id", "code", "ran", "alone"),
    [
        ("True", "1", 0, "good id other", None),
        (ALONE, "1", 1, "good id other other", "passed"),
        ("False", "1", 1, "good id other other", "failed"),
        ("False", "os.getpid()", 1, "", None),
        ("False", "nowhere", 1, "", None),
    ],
    ids=["good", "race", "defect", "collected differently", "not collected"],
)
def test_only_what_failed_beside_others_is_run_alone_and_the_first_result_counts(
    other: str, id: str, code: int, ran: str, alone: str | None, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(SUITE.format(other=other, id=id))
    (tmp_path / "pytest.ini").touch()
    command = [sys.executable, "-m", "tests.support.side_by_side", "--numprocesses=2"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    written = tmp_path / "ran"
    assert sorted(written.read_text().split() if written.exists() else []) == ran.split()
    sentence = f"Side by side: failed. The same tests alone: {alone}. The first result counts."
    assert (sentence in done.stdout) == bool(alone)
    assert ("The same tests alone" in done.stdout) == bool(alone)


def test_notebooks_that_fail_beside_others_and_pass_alone_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[list[str], bool]] = []

    def run(paths: list[Path], *options: str) -> int:
        ran.append(([path.stem[:2] for path in paths], "no:notebook-report" in options))
        if len(ran) == 1:
            results.write("embedded", {path.stem: {"failed": int(path.stem.startswith("01"))} for path in paths})
        return int(len(ran) == 1)

    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(notebooks, "run", run)
    monkeypatch.setattr(notebooks, "lab", contextlib.nullcontext)
    monkeypatch.delenv("K8SEXT_PROVIDER", raising=False)
    assert notebooks.main(["--side-by-side", "00", "01"]) == 1
    assert ran == [(["00", "01"], False), (["01"], True)]
    assert "01-extension-points: side by side failed, alone passed. The first result counts." in capsys.readouterr().out
