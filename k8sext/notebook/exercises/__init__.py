"""Exercises that answer: `check("04.2")`, `hint("04.2")` and `solution("04.2")` in a notebook.

Read in this order: `exercise` (what an exercise is), `learner` (what a judge may look at), one of the files
`e04_custom_resources` and so on, one a notebook (exercises and their judges), `desk` (the three functions), `progress`
(what is remembered).
"""

from __future__ import annotations

from k8sext.notebook.exercises.exercise import Exercise, NotYet, catalogue
from k8sext.notebook.exercises.learner import Learner

__all__ = ["Exercise", "Learner", "NotYet", "catalogue"]
