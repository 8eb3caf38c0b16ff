"""Work that goes on beside a notebook: a thread with an event loop of its own, which ends with its `with` block or the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")

START_LIMIT, END_LIMIT = 30.0, 15.0


class Stoppable(Protocol):
    """What has been started and can be stopped, more than once."""

    def stop(self) -> None:
        """End it."""


_started: list[Stoppable] = []


def remember(started: Stoppable) -> None:
    """Let `stop_all` know of it."""
    _started.append(started)


def stop_all() -> None:
    """Stop everything that this process has started, last first: what cells of an interrupted notebook may have left running."""
    while _started:
        _started.pop().stop()


class Background:
    """Runs `main(ready)` in a thread, from the making of this object, which waits until main has called `ready()`.

    What main raises before that is raised here. `stop` cancels it.
    """

    def __init__(self, main: Callable[[Callable[[], None]], Awaitable[None]], name: str) -> None:
        self._main = main
        self._name = name
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        if not self._started.wait(START_LIMIT):
            self.stop()
            raise TimeoutError(f"{name} did not start within {START_LIMIT:.0f} seconds: is the cluster up?")
        if self._error:
            raise self._error
        # The module atexit comes too late: by then Python has ended the helper threads that clients need.
        threading._register_atexit(self.stop)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def running(self) -> bool:
        """Whether it still works; a bug may have ended it."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Cancel the work and wait for its end. A second time it does nothing."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join(END_LIMIT)

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in this loop and await its answer in another one."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{self._name} ({'running' if self.running else 'stopped'})"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._whole())
            except asyncio.CancelledError:
                pass
            except BaseException as error:
                self._error = error
                if self._started.is_set():
                    raise
            finally:
                self._started.set()

    async def _whole(self) -> None:
        self._task = asyncio.current_task()
        await self._main(self._started.set)
