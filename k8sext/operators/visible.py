"""The loop made visible, for notebook 05: a controller in a thread of its own that tells what it observes, analyses and does.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.informer import Change
from k8sext.kube.request import Json
from k8sext.kube.store import split_key
from k8sext.operators.controller import Controller
from k8sext.operators.desired import Plan

if TYPE_CHECKING:
    from ipywidgets import HTML
    from matplotlib.figure import Figure

LANES = ("observe", "analyse", "act")
READY_WITHIN = 30.0
REDRAW = 0.2


@dataclass(frozen=True)
class Moment:
    """One thing that happened: when, in which part of the loop, and in words."""

    time: float
    lane: str
    text: str


class VisibleController(Controller):
    """The controller of this room; it only notes down what passes through it."""

    def __init__(self, client: Any, namespace: str, moments: list[Moment]) -> None:
        self._moments = moments
        super().__init__(client, namespace)

    def note(self, lane: str, text: str) -> None:
        """Remember a moment."""
        self._moments.append(Moment(time.monotonic(), lane, text))

    def _handle_report(self, change: Change, report: Json) -> None:
        self.note("observe", f"{change} report {report['metadata']['name']}")
        super()._handle_report(change, report)

    def _handle_pod(self, change: Change, pod: Json) -> None:
        self.note("observe", f"{change} pod {pod['metadata']['name']}")
        super()._handle_pod(change, pod)

    async def sync(self, key: str) -> Plan | None:
        """Look at a report as ever, and note what came of it."""
        name = split_key(key)[1]
        before = (self.reports.store.get(key) or {}).get("status", {})
        self.note("analyse", name)
        decision = await super().sync(key)
        if decision:
            if any(before.get(field) != value for field, value in decision.status.items()):
                self.note("act", f"{name}: status {decision.status['state']}")
            if decision.create:
                self.note("act", f"{name}: create pod {decision.create['metadata']['name']}")
            for pod in decision.delete:
                self.note("act", f"{name}: delete pod {pod['metadata']['name']}")
        return decision


class EdgeController(VisibleController):
    """A controller as one should not write it: it acts on news only, and never looks at what was there before it began."""

    def _handle_report(self, change: Change, report: Json) -> None:
        if self.synced:
            super()._handle_report(change, report)

    def _handle_pod(self, change: Change, pod: Json) -> None:
        if self.synced:
            super()._handle_pod(change, pod)


class Stage:
    """Runs a controller beside the notebook, in a thread, so that a cell that waits for kubectl does not hold it up."""

    def __init__(self, namespace: str, controller: type[VisibleController] = VisibleController) -> None:
        self.moments: list[Moment] = []
        self._namespace, self._kind = namespace, controller
        self._controller: VisibleController | None = None
        self._began = time.monotonic()
        self.start()

    def start(self) -> None:
        """Begin to work, and return when the first lists are there. Does nothing if it works already."""
        if self._controller is not None:
            return
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), daemon=True, name="controller")
        self._thread.start()
        if not ready.wait(READY_WITHIN):
            raise TimeoutError(f"the controller saw no list within {READY_WITHIN:.0f} s: is the CRD applied?")

    def kill(self) -> None:
        """End at once, in the middle of whatever it does."""
        if self._controller is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()
            self._controller = None

    async def _run(self, ready: threading.Event) -> None:
        client = await from_kubeconfig(os.environ["KUBECONFIG"])
        self._loop = asyncio.get_running_loop()
        self._controller = controller = self._kind(client, self._namespace, self.moments)
        self._task = asyncio.create_task(controller.run(workers=2))
        try:
            while not controller.synced:
                await asyncio.sleep(0.02)
            ready.set()
            await self._task
        except asyncio.CancelledError:
            pass
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
