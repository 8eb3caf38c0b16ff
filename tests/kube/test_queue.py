"""The work queue, held against its specification; time is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from k8sext.kube.queue import ShutDown, WorkQueue


class HandTurnedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock moves only when a test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Hand:
    """Runs a loop until it has nothing to do, and turns its clock."""

    def __init__(self) -> None:
        self.loop = HandTurnedLoop()

    def settle(self) -> None:
        for _ in range(5):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        self.settle()

    def start(self, work: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        task = self.loop.create_task(work)
        self.settle()
        return task

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        self.loop.call_soon(function, *arguments)
        self.settle()


@pytest.fixture
def hand() -> Iterator[Hand]:
    hand = Hand()
    yield hand
    hand.loop.close()


KEYS = st.sampled_from("abc")


class Specification(RuleBasedStateMachine):
    """What the queue promises, as the plainest code that keeps the promise."""

    def __init__(self) -> None:
        super().__init__()
        self.hand = Hand()
        self.queue: WorkQueue[str] = WorkQueue(first_retry=1, longest_retry=4)
        self.line: list[str] = []  # handed out in this order
        self.again: set[str] = set()  # added while in hand
        self.in_hand: set[str] = set()
        self.later: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.waiting: list[asyncio.Task[str]] = []
        self.closed = False

    def model_add(self, key: str) -> None:
        if self.closed or key in self.line:
            return
        if key in self.in_hand:
            self.again.add(key)
        else:
            self.line.append(key)
        self.model_hand_out()

    def model_hand_out(self) -> None:
        while self.waiting and self.line:
            key = self.line.pop(0)
            self.in_hand.add(key)
            task = self.waiting.pop(0)
            assert task.done() and task.result() == key

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.hand.call(self.queue.add, key)
        self.model_add(key)

    @rule(key=KEYS, seconds=st.integers(1, 5))
    def add_after(self, key: str, seconds: int) -> None:
        self.hand.call(self.queue.add_after, key, seconds)
        self.put_off(key, seconds)

    @rule(key=KEYS)
    def add_rate_limited(self, key: str) -> None:
        self.hand.call(self.queue.add_rate_limited, key)
        failures = self.failures.get(key, 0)
        self.failures[key] = failures + 1
        self.put_off(key, min(2**failures, 4))

    def put_off(self, key: str, seconds: float) -> None:
        if not self.closed:
            due = self.hand.loop.now + seconds
            self.later[key] = min(due, self.later.get(key, due))
        self.hand.loop.now += 0.001  # no two keys fall due at the same moment: their order would not be specified

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule()
    def get(self) -> None:
        task = self.hand.start(self.queue.get())
        if self.closed and not self.line and not self.again:
            assert isinstance(task.exception(), ShutDown)
            return
        self.waiting.append(task)
        self.model_hand_out()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_worker_gives_up(self, data: st.DataObject) -> None:
        task = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        task.cancel()
        self.hand.settle()
        assert task.cancelled()

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_hand)))
        self.in_hand.remove(key)
        self.hand.call(self.queue.done, key)
        if key in self.again:
            self.again.remove(key)
            self.line.append(key)
            self.model_hand_out()
        self.model_end_waiting()

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.hand.wait(seconds)
        due = sorted((when, key) for key, when in self.later.items() if when <= self.hand.loop.now)
        for _, key in due:
            del self.later[key]
            self.model_add(key)

    @precondition(lambda self: not self.closed)
    @rule()
    def shut_down(self) -> None:
        self.hand.call(self.queue.shut_down)
        self.closed = True
        self.later.clear()
        self.model_end_waiting()

    def model_end_waiting(self) -> None:
        if self.closed and not self.line and not self.again:
            for task in self.waiting:
                assert isinstance(task.exception(), ShutDown)
            self.waiting.clear()

    @invariant()
    def the_queue_is_as_specified(self) -> None:
        assert list(self.queue._order) == self.line
        assert set(self.queue.working) == self.in_hand
        assert not any(task.done() for task in self.waiting)
        assert all(self.queue.retries(key) == self.failures.get(key, 0) for key in "abc")

    def teardown(self) -> None:
        for task in self.waiting:
            task.cancel()
        self.hand.settle()
        self.hand.loop.close()


TestSpecification = Specification.TestCase
TestSpecification.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_key_added_while_it_is_worked_on_comes_again(hand: Hand) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert hand.start(queue.get()).result() == "a"
    queue.add("a")
    second = hand.start(queue.get())
    assert not second.done(), "two workers would have the same key"
    hand.call(queue.done, "a")
    assert second.result() == "a"


def test_retries_come_later_each_time_until_the_key_is_forgotten(hand: Hand) -> None:
    queue: WorkQueue[str] = WorkQueue(first_retry=1, longest_retry=4)
    for expected in (1, 2, 4, 4):
        hand.call(queue.add_rate_limited, "a")
        hand.wait(expected - 0.5)
        assert len(queue) == 0
        hand.wait(0.5)
        assert hand.start(queue.get()).result() == "a"
        hand.call(queue.done, "a")
    queue.forget("a")
    hand.call(queue.add_rate_limited, "a")
    hand.wait(1)
    assert len(queue) == 1


def test_a_call_for_a_worker_that_is_cancelled_goes_to_the_next(hand: Hand) -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = hand.start(queue.get()), hand.start(queue.get())
    queue.add("a")  # wakes the first, which has no time to run
    first.cancel()
    hand.settle()
    assert second.result() == "a"


def test_shutting_down_hands_out_what_waits_and_is_drained_when_the_last_is_done(hand: Hand) -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "ab":
        queue.add(key)
    assert hand.start(queue.get()).result() == "a"
    hand.call(queue.shut_down)
    drained = hand.start(queue.drained())  # type: ignore[arg-type]
    queue.add("c")
    assert hand.start(queue.get()).result() == "b"
    assert isinstance(hand.start(queue.get()).exception(), ShutDown)
    hand.call(queue.done, "a")
    assert not drained.done()
    hand.call(queue.done, "b")
    assert drained.done()
