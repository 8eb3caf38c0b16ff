"""Start a program so that nothing of it can be left behind.

Between the supervisor and the program stands an `init`: a forked copy of the supervisor that adopts every process the
program leaves (PR_SET_CHILD_SUBREAPER), kills them all when the program's main process ends, and ends with its exit
code. When the supervisor dies the kernel tells init (PR_SET_PDEATHSIG), and init takes everything with it. This is
what a PID namespace does, without needing the right to have one.
"""

# pathlib would cost a tenth of this process's memory: os it is
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)
_FIRST_FREE_FD = 3


class Started(NamedTuple):
    """A running program: the pid of its init, of its main process, and the supervisor's ends of its standard
    streams."""

    init: int
    main: int
    stdin: int | None
    stdout: int
    stderr: int | None  # None with a terminal, which has one stream


class StartError(Exception):
    """The program could not be executed; the message says why."""


def prctl(option: int, value: int) -> None:
    """Call prctl(2); raise OSError when the kernel refuses."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start(spec: dict[str, Any]) -> Started:
    """Run `spec["wrapper"] + spec["argv"]` and return once it has been executed; raise StartError otherwise.

    Further keys: env, cwd, tty, stdin (whether to keep standard input open), cgroups (cgroup.procs files to join),
    oom_score_adj and root_of (the id of a container that shares its pod's PID namespace: what has its root folder ends
    with the program).
    """
    ours, theirs = _terminal() if spec["tty"] else _pipes(spec["stdin"])
    report, child_report = os.pipe()
    supervisor = os.getpid()
    init = os.fork()
    if init == 0:
        _become_init(spec, theirs, child_report, supervisor)
    for fd in {*theirs, child_report}:
        os.close(fd)
    told = _read_all(report)
    main, _, problem = told.partition(b"\n")
    if problem or not main:
        for fd in ours:
            if fd is not None:
                os.close(fd)
        os.waitpid(init, 0)
        raise StartError(problem.decode() or "the process ended before it could run its program")
    return Started(init, int(main), *ours)


def resize(terminal: int, width: int, height: int) -> None:
    """Tell a terminal its new size."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height & 0xFFFF, width & 0xFFFF, 0, 0))


def children(pid: int) -> list[int]:
    """Return the pids of a process's children; none when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listing:
            return [int(child) for child in listing.read().split()]
    except OSError:
        return []


def send_signal(pid: int, number: int, is_meant: Callable[[], bool]) -> None:
    """Send a signal to a process, unless `is_meant` says that it is another one.

    The kernel gives the number of a process that is gone to another one. A pidfd stands for one process for ever, so it
    is opened first, then the question is asked, and the signal goes to what was asked about. A process that is gone is
    no error.
    """
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if is_meant():
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot: with its pid this names it for ever. None when it is
    gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except OSError:
        return None


def _pipes(stdin: bool) -> tuple[tuple[int | None, int, int], tuple[int, int, int]]:
    stdout, child_stdout = os.pipe()
    stderr, child_stderr = os.pipe()
    if not stdin:
        return (None, stdout, stderr), (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), child_stdout, child_stderr)
    child_stdin, stdin_end = os.pipe()
    return (stdin_end, stdout, stderr), (child_stdin, child_stdout, child_stderr)


def _terminal() -> tuple[tuple[int, int, None], tuple[int, int, int]]:
    leader, follower = pty.openpty()
    return (os.dup(leader), leader, None), (follower, follower, follower)


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read()


def _become_init(spec: dict[str, Any], streams: tuple[int, int, int], report: int, supervisor: int) -> NoReturn:
    code = 127
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, lambda *_: _end_everything(spec))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        if os.getppid() != supervisor:
            os._exit(128 + signal.SIGKILL)
        streams, report = _keep_only(streams, report)
        for group in spec["cgroups"]:
            _write(group, "0")
        main = os.fork()
        if main == 0:
            _become_program(spec, streams, report)
        os.closerange(_FIRST_FREE_FD, max(*streams, report) + 1)
        code = _wait_for(main)
        _kill_companions(spec)
    except BaseException as problem:
        _report(report, f"\ncannot start: {problem}")
    finally:
        os._exit(code)


def _keep_only(streams: tuple[int, int, int], report: int) -> tuple[tuple[int, int, int], int]:
    """Close every descriptor but these four, which move to numbers of their own above all others."""
    top = max(_FIRST_FREE_FD, *streams, report) + 1
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, top) for fd in (*streams, report)]
    os.closerange(_FIRST_FREE_FD, min(kept))
    for number in range(_FIRST_FREE_FD):
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), number)
    os.closerange(_FIRST_FREE_FD, min(kept))
    return (kept[0], kept[1], kept[2]), kept[3]


def _become_program(spec: dict[str, Any], streams: tuple[int, int, int], report: int) -> NoReturn:
    try:
        os.write(report, b"%d\n" % os.getpid())
        os.setsid()
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        if spec["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if spec["oom_score_adj"]:
            with contextlib.suppress(
                PermissionError
            ):  # only the privileged may make themselves less likely to be killed
                _write("/proc/self/oom_score_adj", str(spec["oom_score_adj"]))
        os.chdir(spec["cwd"])
        argv = [*spec["wrapper"], *spec["argv"]]
        os.execvpe(argv[0], argv, spec["env"])
    except BaseException as problem:
        _report(report, f"cannot run {spec['argv'][0]!r}: {problem}")
    finally:
        os._exit(127)


def _wait_for(main: int) -> int:
    status = None
    while status is None:
        pid, found = os.waitpid(-1, 0)
        if pid == main:
            status = found
    _kill_children()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_everything(spec: dict[str, Any]) -> NoReturn:
    _kill_companions(spec)
    _kill_children()
    os._exit(128 + signal.SIGKILL)


def _kill_children() -> None:
    """Kill until nobody is left: whoever loses a parent becomes our child and is killed in the next round."""
    while True:
        for pid in children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _kill_companions(spec: dict[str, Any]) -> None:
    """In a PID namespace that a pod shares, orphans become children of its first process, not ours: know them by their
    root folder."""
    container = spec.get("root_of", "")
    while container and (found := [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_in(pid, container)]):
        for pid in found:
            send_signal(int(pid), signal.SIGKILL, lambda pid=pid: _is_in(pid, container))


def _is_in(pid: str, container: str) -> bool:
    """Whether the root folder of a process is a container's.

    Its mount names the container's folder, and so its id, which is never given out again. (The inode of a namespace is
    given to the next one at once.)
    """
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as mounts:
            return any(f"/{container}/" in mount for mount in mounts if mount.split()[4] == "/")
    except OSError:
        return False


def _report(fd: int, problem: str) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, problem.encode())


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
