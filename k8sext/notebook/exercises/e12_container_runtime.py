"""Exercises of notebook 12: what an exit code says, and what a log file means."""

from __future__ import annotations

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import Learner


@exercise(
    "12.1",
    "How did it end?",
    hints=(
        "Three cases: 0, up to 128, and above. Above 128 the signal's number is what is left after 128.",
        "`signal.Signals(9).name` is `SIGKILL`.",
    ),
    solution="""
    import signal

    def how_it_ended(code):
        if code == 0:
            return "succeeded"
        if code > 128:
            return f"killed by {signal.Signals(code - 128).name}"
        return f"failed with {code}"
    """,
)
def ending(learner: Learner) -> str:
    """Write `how_it_ended(code)` for a container's exit code: `succeeded` for 0, `killed by SIGTERM` and the like for
    those that mean a signal, and `failed with 3` and the like for the others."""
    for code, answer in (
        (0, "succeeded"),
        (3, "failed with 3"),
        (143, "killed by SIGTERM"),
        (137, "killed by SIGKILL"),
        (128, "failed with 128"),
        (1, "failed with 1"),
    ):
        learner.same("how_it_ended", code, answer=answer)
    return "137 in a pod's status will never again be just a number"


@exercise(
    "12.2",
    "Read a container's log",
    hints=(
        "A line has four parts with blanks between them, of which the last may hold blanks itself: `line.split(' ', "
        "3)`.",
        "What ends in P is not whole yet: keep it until the next part of the same stream comes. Only F ends the line.",
        "The two streams come mixed. A dictionary, stream to what is kept, holds both.",
    ),
    solution="""
    def read_log(lines, stream):
        texts, kept = [], ""
        for line in lines:
            _, where, tag, text = line.split(" ", 3)
            if where != stream:
                continue
            kept += text
            if tag == "F":
                texts.append(kept)
                kept = ""
        return texts
    """,
)
def log(learner: Learner) -> str:
    """Write `read_log(lines, stream)`. It gets the lines of a log file as a runtime writes it (time, stream, F or P,
    text) and the name of a stream, `stdout` or `stderr`. It returns the texts that the program printed there, with
    parts put together."""
    lines = [
        "2026-06-15T09:00:00.000000001Z stdout F hello",
        "2026-06-15T09:00:00.000000002Z stdout P a long",
        "2026-06-15T09:00:00.000000003Z stderr F oh no, two words",
        "2026-06-15T09:00:00.000000004Z stdout P  line in",
        "2026-06-15T09:00:00.000000005Z stdout F  parts",
        "2026-06-15T09:00:00.000000006Z stdout F ",
    ]
    learner.same("read_log", lines[:1], "stdout", answer=["hello"])
    learner.same("read_log", lines[:1], "stderr", answer=[])
    learner.same("read_log", lines, "stderr", answer=["oh no, two words"])
    learner.same("read_log", lines, "stdout", answer=["hello", "a long line in parts", ""])
    return "this is what `kubectl logs` does, and there is no more to it"
