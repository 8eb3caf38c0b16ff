"""Waiting for what comes true in its own time. Tests wait for a condition and never sleep for luck."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import pytest

T = TypeVar("T")
WITHIN = 180.0
"""Seconds until a wait is given up: generous, since a machine may be busy, and a test that passes never comes near
it."""
Errors = type[Exception] | tuple[type[Exception], ...]


def eventually(look: Callable[[], T | None], within: float = WITHIN, every: float = 0.05, not_yet: Errors = ()) -> T:
    """Call `look` until its answer is true, and return that answer.

    False answers, AssertionErrors and the errors in `not_yet` mean: not yet; any other error is raised. After `within`
    seconds the test fails with the last answer or error. What takes long is asked less often than `every` seconds: the
    machine has to answer it besides what we wait for.
    """
    last: object = None
    deadline = time.monotonic() + within
    while True:
        asked = time.monotonic()
        try:
            if answer := look():
                return answer
            last = answer
        except (AssertionError, *_several(not_yet)) as error:
            last = error
        if time.monotonic() > deadline:
            _give_up(within, last)
        time.sleep(max(every, time.monotonic() - asked))


async def eventually_async(
    look: Callable[[], Awaitable[T | None] | T | None],
    within: float = WITHIN,
    every: float = 0.02,
    not_yet: Errors = (),
) -> T:
    """`eventually` for tests in an event loop, which goes on between the looks; `look` may be a coroutine function."""
    last: object = None
    deadline = time.monotonic() + within
    while True:
        asked = time.monotonic()
        try:
            answer: Any = look()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            last = answer
        except (AssertionError, *_several(not_yet)) as error:
            last = error
        if time.monotonic() > deadline:
            _give_up(within, last)
        await asyncio.sleep(max(every, time.monotonic() - asked))


def _several(errors: Errors) -> tuple[type[Exception], ...]:
    return errors if isinstance(errors, tuple) else (errors,)


def _give_up(within: float, last: object) -> NoReturn:
    seen = f"error: {type(last).__name__}: {last}" if isinstance(last, Exception) else f"answer: {last!r}"
    pytest.fail(f"not within {within:g} s; the last {seen}")
