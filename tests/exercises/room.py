"""A notebook without a front end: cells run in an IPython shell of their own, and are judged as `check` judges them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from k8sext.notebook.exercises import Exercise, Learner, NotYet
from k8sext.notebook.shell import Shell
from tests.notebooks.pages import NOTEBOOKS, read_source

Wrong = list[tuple[str, str]]


class Room:
    """One IPython shell with our `!`."""

    def __init__(self) -> None:
        self.shell = InteractiveShell()
        Shell(self.shell).install()

    def run(self, cell: str) -> None:
        """Run a cell in names of its own. An error in it is a failure of the test."""
        self.shell.reset(new_session=False)
        result = self.shell.run_cell(cell, store_history=False)
        result.raise_error()

    def judged(self, exercise: Exercise) -> str:
        """What `check` would print now."""
        try:
            return f"PASS: {exercise.judge(Learner(self.shell.user_ns, patience=0))}"
        except NotYet as reason:
            return f"not yet: {reason}"


def page(exercise: Exercise) -> list[Any]:
    """The cells of the notebook that an exercise belongs to."""
    return read_source(NOTEBOOKS / "source" / f"{exercise.notebook}.md").cells


def stub(exercise: Exercise) -> str:
    """The cell that the learner fills in: the one before its check."""
    cells = page(exercise)
    place = next(number for number, cell in enumerate(cells) if cell.source == f'check("{exercise.id}")')
    assert cells[place - 1].cell_type == "code"
    return cells[place - 1].source


def wrong_answers(exercise: Exercise) -> Wrong:
    """Typical wrong cells for an exercise, each with words of its reason."""
    module = f"wrong_{exercise.notebook[:2]}"
    assert (Path(__file__).parent / f"{module}.py").exists(), f"{module}.py is missing"
    return importlib.import_module(f"tests.exercises.{module}").WRONG.get(exercise.id, [])
