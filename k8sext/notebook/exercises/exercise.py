"""What an exercise is: data, and a function that judges what the learner did."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8sext.notebook.exercises.learner import Learner

Judge = Callable[["Learner"], str]


class NotYet(Exception):
    """The exercise is not solved; the message is the exact reason, and what to look at."""


@dataclass(frozen=True)
class Exercise:
    """One exercise. `judge` returns what the learner has proved, or raises NotYet."""

    id: str
    title: str
    task: str
    hints: tuple[str, ...]
    solution: str
    judge: Judge
    notebook: str


_FOUND: dict[str, Exercise] = {}


def exercise(id: str, title: str, *, hints: tuple[str, ...], solution: str) -> Callable[[Judge], Judge]:
    """Make an exercise of a judge; its docstring is the task, as the notebook words it."""

    def register(judge: Judge) -> Judge:
        task = re.sub(r"\s+", " ", cleandoc(judge.__doc__ or ""))
        _FOUND[id] = Exercise(id, title, task, hints, cleandoc(solution), judge, _notebook(judge.__module__))
        return judge

    return register


@functools.cache
def catalogue() -> Mapping[str, Exercise]:
    """All exercises by their id, in the order of the notebooks."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__):
        if re.match(r"e\d\d_", module.name):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_FOUND.items()))


def _notebook(module: str) -> str:
    """`...e04_custom_resources` holds the exercises of notebook `04-custom-resources`."""
    return module.rsplit(".", 1)[-1][1:].replace("_", "-")
