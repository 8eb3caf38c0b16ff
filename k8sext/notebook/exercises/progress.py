"""Which exercises are solved: one small file in the user's state folder. Nothing is sent anywhere."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from k8sext.cluster import ClusterError
from k8sext.cluster.paths import state_folder, write_json
from k8sext.notebook.exercises.exercise import catalogue


def file() -> Path:
    """Where it is kept."""
    return state_folder() / "progress.json"


def solved() -> dict[str, str]:
    """The solved exercises, each with the day on which it was first solved. Raises ClusterError for a file that is
    damaged."""
    try:
        content = json.loads(file().read_text())
        passed = content["passed"]
        if not all(isinstance(part, str) for entry in passed.items() for part in entry):
            raise TypeError
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ClusterError(f"{file()} is damaged: begin a new one with `k8sext progress --reset`.") from None
    except OSError as error:
        raise ClusterError(f"{file()} cannot be read: {error.strerror}.") from error
    return passed


def remember(number: str) -> None:
    """Keep that an exercise is solved. Raises ClusterError when that cannot be written down."""
    passed = solved()
    if number in passed:
        return
    try:
        file().parent.mkdir(parents=True, exist_ok=True)
        write_json(file(), {"passed": {**passed, number: date.today().isoformat()}})
    except OSError as error:
        raise ClusterError(f"{file()} cannot be written: {error.strerror}.") from error


def reset() -> None:
    """Forget everything. Raises ClusterError when the file cannot be removed."""
    try:
        file().unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError(f"{file()} cannot be removed: {error.strerror}.") from error


def overview() -> list[dict[str, Any]]:
    """Each notebook with its exercises: id, title, and the day it was solved or None. Raises ClusterError."""
    days = solved()
    notebooks: dict[str, list[dict[str, Any]]] = {}
    for found in catalogue().values():
        entry = {"id": found.id, "title": found.title, "solved": days.get(found.id)}
        notebooks.setdefault(found.notebook, []).append(entry)
    return [{"notebook": notebook, "exercises": exercises} for notebook, exercises in notebooks.items()]


def table(notebooks: list[dict[str, Any]]) -> str:
    """The overview as lines of text: a notebook each, and the sum."""
    lines = [f"{'NOTEBOOK':24} {'SOLVED':8} OPEN"]
    for notebook in notebooks:
        exercises = notebook["exercises"]
        left = [exercise["id"] for exercise in exercises if not exercise["solved"]]
        done = f"{len(exercises) - len(left)} of {len(exercises)}"
        lines.append(f"{notebook['notebook']:24} {done:8} {' '.join(left) or '-'}")
    everything = [exercise["solved"] for notebook in notebooks for exercise in notebook["exercises"]]
    lines.append(f"{sum(map(bool, everything))} of {len(everything)} exercises are solved.")
    return "\n".join(lines)
