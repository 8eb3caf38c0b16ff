"""A loop in a thread: what it does with work, what it does when it hangs, and that no program waits for it in the
end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator

import pytest

from k8sext.kube.background import Background, BackgroundTask


@pytest.fixture
def background() -> Iterator[Background]:
    with Background("of a test") as background:
        yield background


@pytest.fixture
def hanging(background: Background) -> Iterator[Background]:
    """A loop in which something blocks that should not."""
    released, hangs = threading.Event(), threading.Event()
    background.soon(lambda: hangs.set() or released.wait(30))
    hangs.wait(5)
    yield background
    released.set()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def test_work_runs_there_and_its_result_comes_back(background: Background) -> None:
    assert background.call(double(1)) == 2
    assert background.start(double(2)).result(5) == 4
    assert await background.ask(double(3)) == 6
    assert background.do(lambda: threading.current_thread().name) == "of a test"


def test_what_work_raises_is_raised_here(background: Background) -> None:
    async def fails() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        background.call(fails())
    assert background.call(double(1)) == 2


async def test_who_no_longer_waits_cancels_the_work(background: Background, eventually: Callable[..., object]) -> None:
    cancelled: list[str] = []

    async def patient(name: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    with pytest.raises(TimeoutError):
        background.call(patient("call"), 0.1)
    background.start(patient("start")).cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(background.ask(patient("ask")), 0.1)
    await asyncio.to_thread(eventually, lambda: set(cancelled) >= {"call", "ask"})


def test_leaving_a_loop_over_a_stream_closes_the_stream(background: Background) -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    for number in background.iterate(numbers()):
        if number == 3:
            break
    assert list(background.iterate(numbers())) == list(range(10))
    assert closed == [True, True]


def test_a_loop_that_hangs_is_not_waited_for(hanging: Background) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        hanging.call(double(1), 0.2)
    hanging.stop(0.2)
    assert time.monotonic() - began < 5
    assert not hanging.running


def test_after_its_end_it_takes_no_work(background: Background) -> None:
    background.stop()
    background.stop()
    background.soon(lambda: None)
    with pytest.raises(RuntimeError):
        background.call(double(1))
    assert repr(background) == "of a test (stopped)"


def test_stop_cancels_the_task_and_waits_until_it_has_cleaned_up() -> None:
    said: list[str] = []

    async def main(ready: Callable[[], None]) -> None:
        said.append("begin")
        ready()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            said.append("end")

    with BackgroundTask(main, "working") as task:
        assert (task.running, repr(task), said) == (True, "working (running)", ["begin"])
    assert (task.running, repr(task), said) == (False, "working (stopped)", ["begin", "end"])


def test_what_keeps_a_task_from_its_start_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_ready: Callable[[], None]) -> None:
        raise LookupError("no such resource")

    async def never(_ready: Callable[[], None]) -> None:
        await asyncio.sleep(60)

    with pytest.raises(LookupError, match="no such resource"):
        BackgroundTask(fails, "failing")
    with pytest.raises(TimeoutError, match="never did not start within 1 seconds"):
        BackgroundTask(never, "never", limit=1)
    assert not [thread for thread in threading.enumerate() if thread.name in ("failing", "never")]
    assert not caplog.records


def test_a_task_that_a_bug_ends_later_says_so_in_the_log(
    caplog: pytest.LogCaptureFixture, eventually: Callable[..., object]
) -> None:
    async def fails_later(ready: Callable[[], None]) -> None:
        ready()
        await asyncio.sleep(0)
        raise LookupError("a bug")

    with BackgroundTask(fails_later, "buggy") as task:
        eventually(lambda: not task.running)
    assert "buggy ended by a bug" in caplog.text


PROGRAM = """
import asyncio, signal, sys, time
from k8sext.kube.background import Background, BackgroundTask, at_exit

async def main(ready):
    ready()
    await asyncio.sleep(60)

def own(*_):
    sys.exit(7)

if sys.argv[1] == "own handler":
    signal.signal(signal.SIGTERM, own)
working = BackgroundTask(main, "working")
hanging = Background("hanging")
hanging.soon(lambda: time.sleep(60))
at_exit(lambda: print("goodbye", flush=True))
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[1] == "sys.exit":
    sys.exit(3)
if sys.argv[1] == "error":
    raise LookupError
"""


@pytest.mark.parametrize(
    ("way", "number", "code"),
    [
        ("end", None, 0),
        ("sys.exit", None, 3),
        ("error", None, 1),
        ("signal", signal.SIGTERM, -signal.SIGTERM),
        ("signal", signal.SIGINT, -signal.SIGINT),
        ("own handler", signal.SIGTERM, 7),
    ],
)
def test_the_end_of_the_interpreter_is_told_and_waits_for_no_loop(
    way: str, number: signal.Signals | None, code: int
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout and program.stdout.readline() == "ready\n"
    if number:
        program.send_signal(number)
        program.wait(30)
    out, err = program.communicate(None if number else "\n", timeout=30)
    assert (program.returncode, out) == (code, "goodbye\n")
    if way == "error" or number == signal.SIGINT:
        err = err.splitlines()[-1].replace("LookupError", "").replace("KeyboardInterrupt", "")
    assert err == ""
