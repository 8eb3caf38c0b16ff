"""Process groups that end with the notebook kernel, however the kernel ends.

Every command gets a process group of its own, so that a pipeline is stopped whole. A kernel that ends in order stops
its groups itself. For one that is killed there is a watcher: a shell that holds the reading end of a pipe from the
kernel, keeps the list of running groups, and stops them when the pipe ends: at the latest when the kernel is gone.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

STOP_GRACE = 2.0
POLL = 0.02

WATCHER = """
trap '' INT TERM HUP
groups=' '
while read -r change group; do
    case $change in
        start) groups="$groups$group " ;;
        end) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -s TERM -- "-$group" && again="$again $group"; done 2>/dev/null
[ -z "$again" ] || sleep 1
for group in $again; do kill -s KILL -- "-$group"; done 2>/dev/null
"""


@contextmanager
def held_back() -> Iterator[None]:
    """Let a Ctrl-C wait until the end of the block: in the middle of a start, nobody would know which process to
    stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


class ProcessGroups:
    """The running commands of one kernel."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._watcher: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop_all)

    def start(self, arguments: list[str], stdout: int | IO[bytes], stderr: int) -> subprocess.Popen[bytes]:
        """Start `sh` with these arguments in a process group of its own, without a terminal to read from."""
        for earlier in list(self._running.values()):
            self.forget(earlier)
        process = subprocess.Popen(
            ["/bin/sh", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self._running[process.pid] = process
        self._tell("start", process.pid)
        return process

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Stop looking after a command once nothing of its group runs any more."""
        if process.poll() is None or _signal(process, 0):
            return
        if self._running.pop(process.pid, None):
            self._tell("end", process.pid)

    def interrupt(self, process: subprocess.Popen[bytes], grace: float) -> None:
        """Pass a Ctrl-C on to a command; end it by force if it does not end within `grace` seconds."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            _signal(process, number)
            if _ended([process], grace):
                return

    def stop_all(self) -> None:
        """Stop every command that still runs, politely first, and the watcher."""
        processes = list(self._running.values())
        for process in processes:
            _signal(process, signal.SIGTERM)
        _ended(processes, STOP_GRACE)
        for process in processes:
            _signal(process, signal.SIGKILL)
            process.wait()
        self._running.clear()
        if self._watcher and self._watcher.stdin:
            self._watcher.stdin.close()
            self._watcher.wait()
            self._watcher = None

    def _tell(self, change: str, group: int) -> None:
        if self._watcher is None:
            self._watcher = subprocess.Popen(
                ["/bin/sh", "-c", WATCHER],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._watcher.stdin is not None
        self._watcher.stdin.write(f"{change} {group}\n".encode())
        self._watcher.stdin.flush()


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the command's group; False when the group is empty."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _ended(processes: list[subprocess.Popen[bytes]], within: float) -> bool:
    deadline = time.monotonic() + within
    while any(process.poll() is None for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
