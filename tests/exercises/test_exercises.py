"""Every exercise: its untouched stub, typical wrong answers and its solution, each judged as in a notebook."""

from __future__ import annotations

import re

import pytest

from k8sext.notebook.exercises import catalogue
from tests.exercises.room import page, stub, wrong_answers
from tests.support.eventually import eventually

each_exercise = pytest.mark.parametrize("exercise", catalogue().values(), ids=lambda exercise: exercise.id)


@pytest.mark.cluster
@each_exercise
def test_an_untouched_stub_is_not_yet_and_leaves_nothing(room, cluster, exercise):
    """These come first: later solutions make the namespace."""
    room.run(stub(exercise))
    assert room.judged(exercise).startswith("not yet: ")
    assert not cluster.kubectl("get", "namespace", "exercises", "--ignore-not-found", "-o", "name")


@pytest.mark.cluster
@each_exercise
def test_wrong_answers_and_solution_get_their_answers(room, exercise):
    for cell, reason in wrong_answers(exercise):
        room.run(cell)
        eventually(lambda reason=reason: says(room.judged(exercise), f"not yet: .*{re.escape(reason)}"))
    room.run(exercise.solution)
    eventually(lambda: says(room.judged(exercise), "PASS: "))


def says(answer: str, expected: str) -> bool:
    assert re.match(expected, answer, re.DOTALL), answer
    return True


@each_exercise
def test_there_are_wrong_answers_to_learn_from(exercise):
    assert len(wrong_answers(exercise)) >= 2


@each_exercise
def test_its_notebook_words_the_task_as_the_exercise_does(exercise):
    prose = re.sub(r"\s+", " ", " ".join(cell.source for cell in page(exercise) if cell.cell_type == "markdown"))
    assert f"### {exercise.id} {exercise.title}" in prose
    assert exercise.task in prose


@each_exercise
def test_its_hints_lead_there_in_steps_of_whole_sentences(exercise):
    assert 2 <= len(exercise.hints) <= 4
    assert all(hint.endswith((".", "?", "`")) for hint in exercise.hints)
