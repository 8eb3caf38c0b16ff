"""The three functions that `%load_ext k8sext` puts into a notebook: check, hint and solution."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from k8sext.cluster import ClusterError
from k8sext.notebook.exercises import progress
from k8sext.notebook.exercises.exercise import Exercise, NotYet, catalogue
from k8sext.notebook.exercises.learner import Learner


class Desk:
    """Where one notebook's learner works: which hints were given, and the IPython shell that holds the answers."""

    def __init__(self, ipython: Any) -> None:
        self._ipython = ipython
        self._given: Counter[str] = Counter()
        self._placed = ""

    def functions(self) -> dict[str, Callable[..., None]]:
        """What the notebook gets, by name."""
        return {"check": self.check, "hint": self.hint, "solution": self.solution}

    def check(self, number: str = "") -> None:
        """Print PASS and what you have proved, or what is not yet as it should be. Example: check("04.2")."""
        if not (found := _find(number)):
            return
        try:
            proved = found.judge(Learner(self._ipython.user_ns))
        except NotYet as reason:
            print(f"not yet: {_sentence(str(reason))}")
            return
        print(f"PASS: {_sentence(proved)}")
        try:
            progress.remember(found.id)
        except ClusterError as error:
            print(f"(Your progress could not be kept. {error})")

    def hint(self, number: str = "") -> None:
        """Print the next hint of an exercise. Example: hint("04.2")."""
        if not (found := _find(number)):
            return
        given, total = self._given[found.id], len(found.hints)
        if given == total:
            self._given[found.id] = 0
            print(f'You have seen all {total} hints. solution("{found.id}") shows one way to do it.')
            return
        self._given[found.id] += 1
        print(f"Hint {given + 1} of {total}: {found.hints[given]}")

    def solution(self, number: str = "") -> None:
        """Put one way to solve an exercise into a new cell below. Example: solution("04.2")."""
        if not (found := _find(number)):
            return
        if not hasattr(self._ipython, "kernel"):
            print(found.solution)
            return
        if self._placed == found.id:
            self._placed = ""
            print(f"The solution of {found.id} stands in a cell below already. Call once more to get it again.")
            return
        self._ipython.set_next_input(found.solution)
        self._placed = found.id
        print("One way to do it stands in the cell below. Read it, run it, and check again.")


def _find(number: str) -> Exercise | None:
    """The exercise of this number; None, after a sentence about it, when there is none."""
    known = catalogue()
    if number in known:
        return known[number]
    meant = re.sub(r"^(?=\d\.)", "0", str(number))
    if not number:
        print(f'Which exercise? Write its number as in the notebook, for example check("{next(iter(known))}").')
        return None
    near = [meant] if meant in known else [id for id in known if id[:2] == meant[:2]] or list(known)[:1]
    print(f"There is no exercise {number!r}. Write its number as in the notebook: {', '.join(map(repr, near))}.")
    return None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "`", "?", "!")) else f"{text}."
