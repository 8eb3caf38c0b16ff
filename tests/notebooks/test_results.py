"""The README's table of providers and notebooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks import results


def test_the_table_tells_what_passed_what_was_skipped_and_what_was_not_run():
    counts = {
        "embedded": {"00-start": {"passed": 26}, "12-runtime": {"passed": 30}},
        "kind": {"12-runtime": {"passed": 20, "skipped": 9, "failed": 1}},
    }
    assert results.table(counts).splitlines()[2:] == [
        "| 00-start | 26 of 26 | not run |",
        "| 12-runtime | 30 of 30 | 20 of 30, 9 skipped |",
    ]


def test_a_later_run_replaces_only_the_notebooks_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    results.write("kind", {"00": {"passed": 1, "failed": 1}, "01": {"passed": 3}})
    assert results.main() == 1, "the embedded column is not known"
    results.write("embedded", {"00": {"passed": 2}, "01": {"passed": 3}})
    results.write("kind", {"00": {"passed": 2}})
    assert results.main() == 0
    text = (tmp_path / "README.md").read_text()
    assert "| 00 | 2 of 2 | 2 of 2 |\n| 01 | 3 of 3 | 3 of 3 |\n" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_the_readme_has_the_place_for_it():
    assert results.BEGIN in results.README.read_text()
    assert results.END in results.README.read_text()
