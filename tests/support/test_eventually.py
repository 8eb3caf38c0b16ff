"""What a wait returns, what it takes for "not yet", and what its failure says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.eventually import eventually, eventually_async

Wait = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def wait(request: pytest.FixtureRequest) -> Wait:
    async def sync(look: Callable[[], Any], **options: Any) -> Any:
        return eventually(look, **options)

    return sync if request.param == "sync" else eventually_async


def answers(*several: object) -> Callable[[], object]:
    """One after the other, the last one for ever; errors are raised."""
    left = list(several)

    def look() -> object:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


async def test_the_first_true_answer_is_returned(wait: Wait) -> None:
    assert await wait(answers(None, [], AssertionError("early"), OSError("busy"), "done"), not_yet=OSError) == "done"


async def test_another_error_is_raised_at_once(wait: Wait) -> None:
    with pytest.raises(ValueError, match="broken"):
        await wait(answers(False, ValueError("broken"), True))


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({}, r"not within 0.01 s; the last answer: \{\}"),
        (AssertionError("3 of 4 pods"), "the last error: AssertionError: 3 of 4 pods"),
        (OSError("refused"), "the last error: OSError: refused"),
    ],
)
async def test_a_failure_says_what_was_seen_last(wait: Wait, last: object, said: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=said):
        await wait(answers(0, last), within=0.01, every=0.001, not_yet=OSError)


async def test_a_coroutine_function_may_look() -> None:
    look = answers(0, 7)

    async def later() -> object:
        return look()

    assert await eventually_async(later) == 7
