"""A way from synchronous code into asynchronous code: one thread with an event loop, to which work is handed.

`asyncio.run` for each call would open a new connection each time, and cannot be used at all where a loop runs already, as in Jupyter.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Portal:
    """A running event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="k8sext client", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine over there and return its result, or raise its exception. An interrupt here cancels it there."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def do(self, function: Callable[[], T]) -> T:
        """Call a quick function in the loop's thread, so that it sees no half-made changes."""

        async def call() -> T:
            return function()

        return self.call(call())

    def start(self, work: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run a coroutine in the background; returns the function that ends it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return lambda: void(future.cancel())

    def iterate(self, stream: AsyncIterator[T]) -> Iterator[T]:
        """Go through an asynchronous stream; leaving the loop closes the stream."""

        async def step() -> T:
            return await anext(stream)

        async def close() -> None:
            await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]

        try:
            while True:
                yield self.call(step())
        except StopAsyncIteration:
            return
        finally:
            if not self._loop.is_closed():
                self.call(close())

    def close(self) -> None:
        """Stop the loop and the thread."""
        if self._loop.is_closed():
            return
        self.call(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def void(_: object) -> None:
    """Forget a result."""
