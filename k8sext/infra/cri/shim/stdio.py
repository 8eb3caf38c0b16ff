"""Carry bytes between a program, its log and the sessions that look at it.

A session is a SOCK_SEQPACKET socket to the server: byte 0 of a packet is the channel, as in the WebSocket protocol of
`kubectl exec` (0 standard input, 1 output, 2 error output, 3 the exit code at the end, 4 the terminal's size, 255 end
of input), the rest is data. A session that does not keep up makes the program wait, as a slow pipe would; a session
that is closed ends the program it was opened for (exec) or is forgotten (attach).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable

from k8sext.infra.cri.shim import processes
from k8sext.infra.cri.shim.logs import CriLog

STDIN, STDOUT, STDERR, EXIT, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHUNK = 16384
_UNREAD_INPUT = 65536


class Session:
    """One client's end of a program's streams."""

    def __init__(self, end: socket.socket, takes_input: bool, owns_program: bool) -> None:
        end.setblocking(False)
        self.socket, self.takes_input, self.owns_program = end, takes_input, owns_program
        self.waiting: bytes | None = None  # a packet that found the socket full
        self.told_exit = False


class Stdio:
    """The streams of one running program."""

    def __init__(
        self, selector: selectors.BaseSelector, started: processes.Started, log: CriLog | None, hold_stdin: bool
    ) -> None:
        """`hold_stdin`: input stays open when a session that fed it goes (a container with stdin but not stdinOnce)."""
        self.on_session_lost: Callable[[], None] = lambda: None
        self._selector, self._log, self._hold_stdin = selector, log, hold_stdin
        self._outputs = {started.stdout: STDOUT} | ({started.stderr: STDERR} if started.stderr is not None else {})
        self._terminal = started.stdout if started.stderr is None else None
        self._stdin = started.stdin
        self._input = b""
        self._end_of_input = False
        self._sessions: list[Session] = []
        for fd in [*self._outputs, *([self._stdin] if self._stdin is not None else [])]:
            os.set_blocking(fd, False)
        self._listen()

    def attach(self, session: Session) -> None:
        """Let a session see what is printed from now on and, if it asked for that, write input."""
        self._sessions.append(session)
        self._watch(session)

    def reopen_log(self) -> None:
        """Go on in a new log file after a rotation."""
        if self._log is not None:
            self._log.reopen()

    def conclude(self, code: int) -> bool:
        """After the program's end: pass on what it still printed, then the exit code, then close. Return whether that
        is done."""
        if self._outputs or any(session.waiting for session in self._sessions):
            return False
        for session in [session for session in self._sessions if not session.told_exit]:
            session.told_exit = True
            self._send(session, bytes([EXIT]) + json.dumps({"code": code}).encode())
        if any(session.waiting for session in self._sessions):
            return False
        self._close_stdin()
        for session in self._sessions:
            self._unregister(session.socket)
            session.socket.close()
        if self._log is not None:
            self._log.close()
        return True

    def _listen(self) -> None:
        """Read the program's output exactly while every session can take more."""
        paused = any(session.waiting for session in self._sessions)
        for fd in self._outputs:
            if paused:
                self._unregister(fd)
            else:
                self._register(fd, selectors.EVENT_READ, lambda fd=fd: self._read_output(fd))

    def _read_output(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # a terminal says EIO when its last program has gone
            data = b""
        if not data:
            self._close_output(fd)
            return
        channel = self._outputs[fd]
        if self._log is not None:
            self._log.write("stderr" if channel == STDERR else "stdout", data)
        for session in list(self._sessions):
            self._send(session, bytes([channel]) + data)
        self._listen()

    def _send(self, session: Session, packet: bytes) -> None:
        try:
            session.socket.send(packet)
        except BlockingIOError:
            session.waiting = packet
        except OSError:
            self._lose(session)
            return
        self._watch(session)

    def _watch(self, session: Session) -> None:
        events = selectors.EVENT_READ if len(self._input) < _UNREAD_INPUT else 0
        if session.waiting:
            events |= selectors.EVENT_WRITE
        if events:
            self._register(session.socket, events, lambda: self._serve(session))
        else:
            self._unregister(session.socket)

    def _serve(self, session: Session) -> None:
        if session.waiting:
            packet, session.waiting = session.waiting, None
            self._send(session, packet)
            self._listen()
        if session in self._sessions:
            self._receive(session)

    def _receive(self, session: Session) -> None:
        try:
            packet = session.socket.recv(2 * CHUNK)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lose(session)
        elif packet[0] == STDIN and session.takes_input:
            self._input += packet[1:]
            self._write_input()
        elif packet[0] == RESIZE and self._terminal is not None:
            size = json.loads(packet[1:])
            processes.resize(self._terminal, int(size["Width"]), int(size["Height"]))
        elif packet[0] == CLOSE and session.takes_input and not self._hold_stdin:
            self._end_of_input = True
            self._write_input()

    def _write_input(self) -> None:
        if self._stdin is None:
            self._input = b""
            return
        try:
            while self._input:
                self._input = self._input[os.write(self._stdin, self._input) :]
        except BlockingIOError:
            self._register(self._stdin, selectors.EVENT_WRITE, self._write_input)
        except OSError:
            self._close_stdin()
        else:
            self._unregister(self._stdin)
            if self._end_of_input:
                self._close_stdin()
        for session in self._sessions:
            self._watch(session)

    def _lose(self, session: Session) -> None:
        self._sessions.remove(session)
        self._unregister(session.socket)
        session.socket.close()
        if session.owns_program:
            self.on_session_lost()
        elif session.takes_input and not self._hold_stdin:
            self._end_of_input = True
            self._write_input()
        self._listen()

    def _close_stdin(self) -> None:
        self._input = b""
        if self._stdin is not None:
            self._unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def _close_output(self, fd: int) -> None:
        self._unregister(fd)
        os.close(fd)
        del self._outputs[fd]

    def _register(self, file: int | socket.socket, events: int, callback: Callable[[], None]) -> None:
        try:
            self._selector.modify(file, events, callback)
        except KeyError:
            self._selector.register(file, events, callback)

    def _unregister(self, file: int | socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(file)
