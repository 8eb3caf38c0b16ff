"""Cells that need what a machine may lack."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from k8sext.notebook import needs


@pytest.fixture
def shell(monkeypatch):
    """A shell on a machine that lacks one thing and has another."""
    monkeypatch.setattr(needs, "KNOWN", {"wings": lambda: "no wings here", "legs": lambda: ""})
    needs.missing.cache_clear()
    made = InteractiveShell()
    needs.install(made)
    yield made
    needs.missing.cache_clear()


def test_a_cell_whose_need_is_not_met_says_so_and_does_nothing(shell, capsys):
    for cell in ("# needs: wings\nraise SystemError", "%%sh\n# needs: wings\nexit 1"):
        assert shell.run_cell(cell).success
    assert capsys.readouterr().out == "Skipped here: no wings here.\n" * 2


def test_a_cell_whose_need_is_met_runs(shell, capsys):
    shell.run_cell("# needs: legs\nprint(6 * 7)")
    assert capsys.readouterr().out == "42\n"


def test_only_the_first_line_counts():
    assert needs.needs_of("print(1)\n# needs: wings") is None
    assert needs.needs_of("%%sh\n# needs: wings\nfly") == "wings"
