"""What long work says while it goes on. The silent listener is the base; the command line and the notebook have one
that shows a bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Progress:
    """Hears of steps and of how far each has come, and shows nothing."""

    def say(self, sentence: str) -> None:
        """One sentence about what happens."""

    @contextmanager
    def step(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
        """A step of long work; total in units, as MB or packages, None when nobody knows."""
        yield Step()


class Step:
    """How far one step has come."""

    def advance(self, amount: float, of: float | None = None) -> None:
        """So much more is done; of is the total, if it has become known."""


class LineProgress(Progress):
    """Plain lines: for logs, pipes and CI. A step says its start, each quarter, and how long it took."""

    def __init__(self, stream: Any = None) -> None:
        self.stream = stream or sys.stderr

    def say(self, sentence: str) -> None:
        """Print the sentence."""
        print(sentence, file=self.stream, flush=True)

    @contextmanager
    def step(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
        """Print start, quarters and end."""
        began = time.monotonic()
        self.say(f"{title} ...")
        yield _LineStep(self, title, total, unit)
        self.say(f"{title}: done in {duration(time.monotonic() - began)}")


class _LineStep(Step):
    def __init__(self, progress: Progress, title: str, total: float | None, unit: str) -> None:
        self.progress, self.title, self.total, self.unit = progress, title, total, unit
        self.done = 0.0
        self.quarter = 0

    def advance(self, amount: float, of: float | None = None) -> None:
        """Print a line when a quarter is full."""
        self.total = of or self.total
        self.done += amount
        if self.total and int(4 * self.done / self.total) > self.quarter:
            self.quarter = int(4 * self.done / self.total)
            self.progress.say(f"{self.title}: {self.done:.0f} of {self.total:.0f} {self.unit}")


class BarProgress(Progress):
    """Bars that move, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    def say(self, sentence: str) -> None:
        """Print the sentence above the bars."""
        self.console.print(sentence, highlight=False, markup=False)

    @contextmanager
    def step(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
        """A bar for as long as the step lasts, then a line with its duration."""
        from rich import progress as bars

        began = time.monotonic()
        columns = (
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit if total else ""),
            bars.TimeElapsedColumn(),
        )
        with bars.Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(title, total=total)

            class Bar(Step):
                def advance(self, amount: float, of: float | None = None) -> None:
                    """Move the bar."""
                    if of:
                        bar.update(task, total=of)
                    bar.advance(task, amount)

            yield Bar()
        self.say(f"{title}: done in {duration(time.monotonic() - began)}")


def for_terminal() -> Progress:
    """Bars where a person watches, lines elsewhere."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def duration(seconds: float) -> str:
    """9 s, or 3 min 20 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"
