"""An event loop in a thread of its own: for synchronous programs, and for notebooks, whose loop stands still.

The loop and its thread are those of anyio's blocking portal; the thread is a daemon, so it keeps no program from
ending. What must be done at the interpreter's end is registered with `at_exit` and needs neither of them: Python starts
no thread any more by then, and waits for none of this kind.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

T = TypeVar("T")

START_LIMIT, END_LIMIT = 30.0, 15.0
log = logging.getLogger(__name__)
_at_exit: list[Callable[[], None]] = []
_running: set[asyncio.Task[None] | None] = set()
"""An event loop holds its tasks by weak references only: one that nobody else holds may be thrown away while it
waits."""


class Background:
    """A running event loop, given work by other threads. It ends with `stop`, its `with` block or the process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._context = start_blocking_portal(name=name)
        portal = self._context.__enter__()
        self._loop = portal.call(asyncio.get_running_loop)
        self._thread = portal.call(threading.current_thread)
        # Held by the loop itself: the context of a portal that is forgotten waits for its loop, for ever at the
        # interpreter's end.
        self._held = portal.start_task_soon(_hold, self._context)

    @property
    def running(self) -> bool:
        """Whether work can be handed to it."""
        return not self._held.done() and self._thread.is_alive()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there and go on here; the returned future cancels it. Raises RuntimeError after `stop`."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise

    def call(self, work: Coroutine[Any, Any, T], limit: float | None = None) -> T:
        """Run a coroutine there and return its result, or raise its exception. An interrupt here cancels it there.

        Raises TimeoutError after `limit` seconds, if the coroutine has not ended, or the loop hangs.
        """
        future = self.start(work)
        try:
            return future.result(limit)
        except BaseException:
            future.cancel()
            raise

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and await its result in the loop that asks."""
        return await asyncio.wrap_future(self.start(work))

    def do(self, function: Callable[[], T]) -> T:
        """Call a quick function in the loop's thread, so that it sees no half-made changes."""

        async def call() -> T:
            return function()

        return self.call(call())

    def soon(self, function: Callable[[], object]) -> None:
        """Call a quick function in the loop's thread, without waiting for it; after `stop`, not at all."""
        if self.running:
            self._loop.call_soon_threadsafe(function)

    def iterate(self, stream: AsyncGenerator[T, None]) -> Iterator[T]:
        """Go through an asynchronous stream; leaving the loop closes the stream."""

        async def step() -> T:
            return await anext(stream)

        async def close() -> None:
            await stream.aclose()

        try:
            while True:
                yield self.call(step())
        except StopAsyncIteration:
            return
        finally:
            if self.running:
                self.call(close())

    def stop(self, limit: float = END_LIMIT) -> None:
        """Cancel what is under way and end the thread; a loop that hangs is waited for `limit` seconds. Idempotent."""
        if self._held.done():
            return
        self._held.cancel()
        leaving = threading.Thread(target=self._context.__exit__, args=(None, None, None), daemon=True)
        with contextlib.suppress(RuntimeError):  # at the interpreter's end no thread begins, and this one ends with it
            leaving.start()
            leaving.join(limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{self.name} ({'running' if self.running else 'stopped'})"


class BackgroundTask(Background):
    """Runs `main(ready)` from the making of this object, which waits until main has called `ready()`.

    What main raises before that is raised here, and TimeoutError when it takes longer than `limit` seconds. `stop`
    cancels it.
    """

    def __init__(
        self, main: Callable[[Callable[[], None]], Awaitable[None]], name: str, limit: float = START_LIMIT
    ) -> None:
        super().__init__(name)
        self._ready, self._ended = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self.start(self._run(main))
        try:
            if not self._ready.wait(limit):
                raise TimeoutError(f"{name} did not start within {limit:.0f} seconds: is the cluster up?")
            if self._error:
                raise self._error
        except BaseException:
            self.stop()
            raise

    @property
    def running(self) -> bool:
        """Whether main still works; a bug may have ended it."""
        return not self._ended.is_set() and super().running

    def stop(self, limit: float = END_LIMIT) -> None:
        """Cancel main, wait until it has cleaned up, and end the thread; a second time it does nothing."""
        self.soon(lambda: self._task and self._task.cancel())
        self._ended.wait(limit)
        super().stop(limit)

    async def _run(self, main: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self._task = asyncio.current_task()
        _running.add(self._task)
        try:
            await main(self._ready.set)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            if self._ready.is_set():
                log.exception("%s ended by a bug", self.name)
            else:
                self._error = error
        finally:
            _running.discard(self._task)
            self._ended.set()
            self._ready.set()


def at_exit(function: Callable[[], None]) -> None:
    """Call a function when the interpreter ends, also by SIGTERM, at which Python itself calls none.

    A program's own handler of SIGTERM stays; it should end with `sys.exit`. `not_at_exit` takes the function back.
    """
    atexit.register(function)
    _at_exit.append(function)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def not_at_exit(function: Callable[[], None]) -> None:
    """Forget what was to be called at the end."""
    atexit.unregister(function)
    if function in _at_exit:
        _at_exit.remove(function)


def _end(number: int, _frame: object) -> None:
    """Call the functions, then end by the signal. (SystemExit would not do: IPython, for one, catches it.)"""
    for function in reversed(_at_exit):
        function()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


async def _hold(_context: object) -> None:
    await anyio.sleep_forever()
