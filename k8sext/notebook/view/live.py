"""The view as widgets, redrawn by the thread that follows the cluster, at most five times a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from k8sext.kube.background import BackgroundTask
from k8sext.kube.request import ApiError, Unreachable
from k8sext.notebook import FIRST_CELL
from k8sext.notebook.shell import OneLineError
from k8sext.notebook.view.details import NOTHING, detail, events_table, gone
from k8sext.notebook.view.drawing import clean, draw
from k8sext.notebook.view.follow import Follower, chosen_kubeconfig
from k8sext.notebook.view.model import World
from k8sext.notebook.view.panel import Choice, Panel
from k8sext.notebook.view.words import describe

REDRAW, IDLE = 0.2, 1.0
FRESH = 2.0
"""Seconds for which a pod that changed is outlined."""
FIRST_ANSWER, END_LIMIT = 30.0, 5.0
MOST_OPEN = 4


class ViewError(OneLineError):
    """The view has nothing to show; the message says why and what to do."""


class View:
    """A live view of a cluster: see `k8sext.notebook.view.view`. Of more than four open views the oldest is closed.

    In a front end it is widgets (`panel`); elsewhere, as on GitHub, a picture, and its text twin where pictures cannot
    be shown.
    """

    _open: ClassVar[deque[View]] = deque()

    def __init__(self, namespace: str | None, kinds: tuple[str, ...]) -> None:
        if not chosen_kubeconfig():
            raise ViewError("There is no cluster to look at: run the cell with %load_ext k8sext first.")
        self._world = World()
        self._changed_at: dict[str, float] = {}
        self._shown: object = None
        self._dirty = asyncio.Event()
        self._follower = Follower(chosen_kubeconfig(), kinds, self._dirty.set)
        self.panel = Panel(namespace, on_use=self._used)
        self._background = BackgroundTask(self._run, "cluster view")
        try:
            self._world = self._background.call(self._follower.read(), FIRST_ANSWER)
        except (ApiError, Unreachable, TimeoutError) as error:
            self.close()
            raise ViewError(
                f"The cluster does not answer ({str(error) or 'no answer in time'}): {FIRST_CELL}, which starts it."
            ) from None
        View._open.append(self)
        while len(View._open) > MOST_OPEN:
            View._open[0].close()

    def close(self) -> None:
        """Stop following the cluster; the last picture stays."""
        if self in View._open:
            View._open.remove(self)
        self._background.stop(END_LIMIT)
        self.panel.end("closed")

    def __repr__(self) -> str:
        return describe(self._now(), self.panel.namespace)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        world, namespace = self._now(), self.panel.namespace
        words = describe(world, namespace)
        bundle = self.panel.mimebundle() | {"image/svg+xml": draw(world, namespace), "text/plain": words}
        return bundle, {"image/svg+xml": {"alt": words}}

    def _now(self) -> World:
        """Ask anew, so that a picture that is kept shows all that the cells before did; if that fails, what is
        known."""
        try:
            if self._background.running:
                return self._background.call(self._follower.read(), FIRST_ANSWER)
        except (ApiError, Unreachable, TimeoutError):
            pass
        return self._world

    def _used(self) -> None:
        """Somebody used a button or a list, in whatever thread."""
        self._background.soon(self._dirty.set)

    async def _run(self, ready: Callable[[], None]) -> None:
        ready()
        try:
            await self._follow_and_draw()
        except Exception as error:
            self.panel.end(f"ended by an error in the view: {error!r}")

    async def _follow_and_draw(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            while True:
                await self._something_to_draw()
                self._dirty.clear()
                await self._redraw()
                await asyncio.sleep(REDRAW)

    async def _something_to_draw(self) -> None:
        """Return when something changed, or after a while: a first list may be empty, and an outline has to go."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._dirty.wait(), IDLE)

    async def _redraw(self) -> None:
        panel = self.panel
        if not panel.paused:
            self._take(self._follower.world())
        world = self._world.only(panel.namespace)
        panel.tell(
            "paused"
            if panel.paused
            else "live"
            if self._follower.connected
            else "the API server does not answer, trying again"
        )
        panel.offer(self._world, world)
        panel.show(_picture(world, panel, self._changed_at))
        panel.show_events(events_table(world.events, "Recent events"))
        await self._tell_about(panel.chosen)

    def _take(self, world: World | None) -> None:
        """Take over what is known now, and note which pods changed. What was there from the start is not news."""
        if world is None:
            return
        now = time.monotonic()
        before = {(pod.namespace, pod.name): pod for pod in self._world.pods}
        news = [pod for pod in world.pods if before.get((pod.namespace, pod.name)) != pod]
        fresh = {key: at for key, at in self._changed_at.items() if now - at < FRESH}
        self._changed_at = fresh | {f"{pod.namespace}/{pod.name}": now for pod in news}
        self._world = world

    async def _tell_about(self, chosen: Choice | None) -> None:
        if chosen is None:
            self.panel.show_detail(NOTHING)
            return
        events = [event for event in self._world.events if event.about.endswith(f" {chosen.name}")]
        stamp = (chosen, self._follower.version(*chosen), [(event.uid, event.count) for event in events])
        if stamp == self._shown:
            return
        try:
            told = detail(await self._follower.get(*chosen), events)
        except (ApiError, Unreachable) as error:
            told = gone(chosen.name, str(error))
        self.panel.show_detail(told)
        self._shown = stamp


def _picture(world: World, panel: Panel, fresh: dict[str, float]) -> str:
    if panel.in_words:
        return f'<pre tabindex="0" style="white-space:pre-wrap">{_lines(describe(world, panel.namespace))}</pre>'
    return f"<div>{clean(world.summary())}</div>{draw(world, panel.namespace, fresh)}"


def _lines(text: str) -> str:
    return "\n".join(map(clean, text.splitlines()))
