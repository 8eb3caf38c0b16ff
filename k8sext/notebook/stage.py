"""The loop of a controller made visible: it works in a thread, and tells what it observes, analyses and does.

stage = Stage("weather")     # begins to work
stage.live()                 # a widget that shows it at work
stage.told()                 # what it did so far, in words
stage.picture()              # the same as a figure over time
stage.kill()                 # as if the machine had lost its power; stage.start() begins again
with stage.loses("a-pod"):   # the events that tell of this pod's end get lost
    ...
"""

from __future__ import annotations

import asyncio
import html
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from k8sext.kube.background import BackgroundTask
from k8sext.kube.connect import from_kubeconfig
from k8sext.notebook.palette import GREY, INK
from k8sext.operators.visible import Moment, VisibleController

if TYPE_CHECKING:
    from ipywidgets import HTML
    from matplotlib.figure import Figure

LANES = ("observe", "analyse", "act")
REDRAW = 0.2


class Stage:
    """Runs a controller beside the notebook, in a thread, so that a cell that waits for kubectl does not hold it up."""

    def __init__(self, namespace: str, controller: type[VisibleController] = VisibleController) -> None:
        self.moments: list[Moment] = []
        self._namespace, self._kind = namespace, controller
        self._background: BackgroundTask | None = None
        self._controller: VisibleController | None = None
        self._began = time.monotonic()
        self._away: list[tuple[float, float]] = []
        self._killed: float | None = None
        self.start()

    def start(self) -> None:
        """Begin to work, and return when the first lists are there. Does nothing if it works already."""
        if self._background is None:
            self._background = BackgroundTask(self._run, "controller")
            if self._killed is not None:
                self._away.append((self._killed, time.monotonic()))
                self._killed = None

    def kill(self) -> None:
        """End at once, in the middle of whatever it does."""
        if self._background is not None:
            self._background.stop()
            self._background = self._controller = None
            self._killed = time.monotonic()

    @contextmanager
    def loses(self, pod: str, within: float = 60.0) -> Iterator[None]:
        """No event of this pod reaches the controller; the block ends when the last one, of its end, was lost.

        Raises TimeoutError when the pod has not gone within so many seconds.
        """
        if self._controller is None:
            raise ValueError("the controller does not run, so it hears nothing: start() it first")
        self._controller.deaf_to = pod
        yield
        deadline = time.monotonic() + within
        while self._controller and self._controller.deaf_to:
            if time.monotonic() > deadline:
                self._controller.deaf_to = ""
                raise TimeoutError(f"the pod {pod} has not gone within {within:g} s, so there was no event to lose")
            time.sleep(0.02)

    async def _run(self, ready: Callable[[], None]) -> None:
        client = await from_kubeconfig(os.environ["KUBECONFIG"])
        self._controller = controller = self._kind(client, self._namespace, self.moments)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(controller.run(workers=2))
                while not controller.synced:
                    await asyncio.sleep(0.02)
                ready()
        finally:
            await client.close()

    def told(self) -> str:
        """Return what was done so far, one deed a line."""
        return "\n".join(moment.text for moment in self.moments if moment.lane == "act")

    def picture(self) -> Figure:
        """Draw what happened over time: each mark a moment, in three lanes; grey while the controller did not run."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 3.2), layout="constrained")
        axes = figure.add_subplot()
        lanes = list(reversed(LANES))
        times = [[moment.time - self._began for moment in self.moments if moment.lane == lane] for lane in lanes]
        axes.eventplot(times, lineoffsets=range(len(lanes)), linelengths=0.6, linewidths=1, colors=INK)
        for begin, end in self._away:
            axes.axvspan(begin - self._began, end - self._began, color=GREY.edge, alpha=0.25, zorder=0)
            axes.text(begin - self._began, 2.55, " not running", va="top", fontsize=9, color=INK)
        labels = [f"{lane}: {len(marks)}" for lane, marks in zip(lanes, times, strict=True)]
        axes.set(yticks=range(len(lanes)), yticklabels=labels, ylim=(-0.6, 2.6), xlabel="seconds")
        axes.grid(axis="x", color="#dddddd")
        return figure

    def live(self) -> HTML:
        """Return a widget that shows the loop at work, five times a second."""
        from ipywidgets import HTML

        class Live(HTML):
            def __repr__(self) -> str:
                return "The loop at work: a live view (run the notebook to see it move)."

        widget = Live(self._as_html())

        def redraw() -> None:
            while threading.main_thread().is_alive():
                now = self._as_html()
                if now != widget.value:
                    widget.value = now
                time.sleep(REDRAW)

        threading.Thread(target=redraw, daemon=True, name="live view").start()
        return widget

    def _as_html(self) -> str:
        controller = self._controller
        hand = ", ".join(controller.queue.working) if controller else ""
        cells = {
            "observe": self._last("observe"),
            "analyse": [
                f"{len(controller.queue)} keys wait" if controller else "dead",
                f"in hand: {hand or 'nothing'}",
            ],
            "act": self._last("act"),
        }
        columns = "".join(
            f"<td style='vertical-align:top;width:33%'><b>{lane}</b><br>{'<br>'.join(map(html.escape, lines))}</td>"
            for lane, lines in cells.items()
        )
        return f"<table style='width:100%'><tr>{columns}</tr></table>"

    def _last(self, lane: str) -> list[str]:
        return [moment.text for moment in list(self.moments) if moment.lane == lane][-6:]
