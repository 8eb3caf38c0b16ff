"""The loop of a controller made visible: it works in a thread, and tells what it observes, analyses and does.

stage = Stage("weather")     # begins to work
stage.live()                 # a widget that shows it at work
stage.told()                 # what it did so far, in words
stage.picture()              # the same as a figure over time
stage.kill()                 # as if the machine had lost its power; stage.start() begins again
"""

from __future__ import annotations

import asyncio
import html
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from k8sext.kube.background import BackgroundTask
from k8sext.kube.connect import from_kubeconfig
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
        self.start()

    def start(self) -> None:
        """Begin to work, and return when the first lists are there. Does nothing if it works already."""
        if self._background is None:
            self._background = BackgroundTask(self._run, "controller")

    def kill(self) -> None:
        """End at once, in the middle of whatever it does."""
        if self._background is not None:
            self._background.stop()
            self._background = self._controller = None

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
        """Draw what happened over time: each mark a moment, in three lanes."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for height, (lane, mark) in enumerate(zip(reversed(LANES), "sdo", strict=True)):
            times = [moment.time - self._began for moment in self.moments if moment.lane == lane]
            axes.plot(times, [height] * len(times), mark, color="#1f4e79", alpha=0.6)
        axes.set(yticks=range(len(LANES)), yticklabels=reversed(LANES), ylim=(-0.6, 2.6), xlabel="seconds")
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
