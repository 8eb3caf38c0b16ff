"""A level-triggered loop: take a step, wait until something wakes the loop or the time has come, take the next step.

A step looks at everything afresh, so it does not matter what woke the loop or how often; and a step that was cut off is
simply found half done by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any

NEVER = math.inf
LONGEST_RETRY = 30.0


class StepLoop:
    """Takes one step at a time. After a failed one it waits: half a second at first, at most 7.5 seconds."""

    def __init__(self, step: Callable[[], Coroutine[Any, Any, float]], failed: Callable[[Exception], None]) -> None:
        """`step` returns how long to wait for the next: 0 to go on at once, NEVER if only a change can bring one.

        `failed` is called with what a step raised.
        """
        self._step, self._failed = step, failed
        self._under_way: asyncio.Task[float] | None = None
        self._wake = asyncio.Event()
        self._retry = 1.0

    def wake(self) -> None:
        """Something has changed: look again."""
        self._wake.set()

    def interrupt(self) -> None:
        """Something has changed that cannot wait for the end of the step under way."""
        self.wake()
        if self._under_way:
            self._under_way.cancel()

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Go on until it is over."""
        while not is_over():
            self._wake.clear()
            delay = await self._take_step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if delay == NEVER else delay):
                    await self._wake.wait()

    async def _take_step(self) -> float:
        self._under_way = asyncio.create_task(self._step())
        try:
            delay = await self._under_way
        except asyncio.CancelledError:
            if (me := asyncio.current_task()) and me.cancelling():
                raise
            return 0
        except Exception as failure:
            self._failed(failure)
            self._retry = min(self._retry * 2, LONGEST_RETRY)
            return self._retry / 4
        finally:
            self._under_way = None
        self._retry = 1.0
        return delay


async def all_of(*steps: Coroutine[Any, Any, None]) -> None:
    """Take independent steps at once; what goes wrong first counts, but all are ended before."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
