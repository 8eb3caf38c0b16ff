"""The list of skips: each entry can match, and a skip that is not in it fails the run, also with processes side by
side."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import UNLISTED, Entry, entries

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

def test_listed():
    pytest.skip("needs wings, to fly")

@pytest.mark.parametrize("number", [1, 2])
def test_also_listed(number):
    pytest.skip("needs wings, to fly")

@pytest.mark.skipif(True, reason="on a whim")
def test_not_listed():
    pass

@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    assert False
"""
CONFTEST = """
from tests.support.skips import SkipCheck, Entry

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipCheck([Entry("needs wings", "a bird", ("test_it.py",))]))
"""


@pytest.mark.parametrize(
    ("suite", "workers", "code"),
    [(SUITE, 0, UNLISTED), (SUITE, 2, UNLISTED), (SUITE.replace("skipif(True", "skipif(False"), 2, 0)],
)
def test_a_skip_that_is_not_in_the_list_fails_the_run(suite: str, workers: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(suite)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", f"--rootdir={tmp_path}", f"--numprocesses={workers}"]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stdout
    assert ("test_it.py::test_not_listed: on a whim" in done.stdout) == bool(code)


def test_an_entry_matches_whole_names_only() -> None:
    entry = Entry("needs root", "CI", ("tests/a", "tests/b.py::test_one"))
    for test in ("tests/a/test_x.py::test_y", "tests/b.py::test_one", "tests/b.py::test_one[1]"):
        assert entry.allows(test, "it needs root for this")
        assert not entry.allows(test, "another reason")
    for test in ("tests/ab/test_x.py::test_y", "tests/b.py::test_one_more", "tests/b.py"):
        assert not entry.allows(test, "needs root")


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.reason)
def test_every_entry_can_match(entry: Entry) -> None:
    assert entry.runs_on
    for name in entry.tests:
        path, _, test = name.partition("::")
        where = ROOT / path
        assert where.exists(), f"there is no {path} any more"
        if test:
            functions = [
                node.name for node in ast.walk(ast.parse(where.read_text())) if isinstance(node, ast.FunctionDef)
            ]
            assert test in functions, f"there is no {name} any more"
        above = [file for folder in where.parents for file in folder.glob("conftest.py")]
        files = [*where.rglob("*.py")] if where.is_dir() else [where, *above]
        sources = [file.read_text() for file in [*files, *(ROOT / "k8sext" / "infra").rglob("*.py")]]
        assert any(entry.reason in text for text in sources), f"nothing in {path} is skipped for this reason any more"
