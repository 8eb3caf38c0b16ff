"""The server's side of a node's supervisor: start it when it is not there, ask it, hear from it (requests: see
`shim`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpc import StatusCode

from k8sext.infra.cri import cleanup
from k8sext.infra.cri.shim import supervisor
from k8sext.infra.grpc import StatusError

SOURCE_ROOT = Path(__file__).parents[3]
LARGEST_ANSWER = 1 << 20
log = logging.getLogger(__name__)


class ShimError(StatusError):
    """The supervisor refused or is gone; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(StatusCode.UNKNOWN, message)


class Session:
    """The streams of one exec or attach: packets of a channel byte and data, as `shim.stdio` describes."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next packet, None when the session is over."""
        try:
            packet = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        except OSError:
            return None
        return (packet[0], packet[1:]) if packet else None

    async def send(self, channel: int, data: bytes = b"") -> None:
        """Send one packet; one to a session that is over is dropped."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, bytes([channel]) + data)
        except OSError:
            log.debug("input for a program that has ended was dropped")

    def close(self) -> None:
        """Leave: a command that was executed for this session is killed."""
        self._socket.close()


class ShimClient:
    """A connection to the supervisor of one node."""

    def __init__(
        self, socket_path: Path, folder: Path, on_exit: Callable[[str], None], on_lost: Callable[[], None]
    ) -> None:
        """`on_exit` hears of each container that ended, `on_lost` of the supervisor's death, with which all its
        containers died."""
        self._path, self._folder = socket_path, folder
        self._on_exit, self._on_lost = on_exit, on_lost
        self._socket: socket.socket | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_request = 0
        self._reader: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect to the supervisor that runs, or to one newly started; raise ShimError when neither can be."""
        try:
            self._socket = self._dial()
        except OSError:
            await asyncio.to_thread(self._start)
            self._socket = self._dial()
        self._reader = asyncio.create_task(self._read(self._socket))

    async def ask(
        self, do: str, container: str = "", session: socket.socket | None = None, **details: Any
    ) -> dict[str, Any]:
        """Send a request and return its answer; raise ShimError when it is refused."""
        if self._socket is None:
            raise ShimError("the supervisor of this node's containers has died; it is being replaced, try again")
        self._last_request += 1
        number = self._last_request
        packet = json.dumps({"id": number, "do": do, "container": container, **details}).encode()
        if len(packet) > supervisor.LARGEST_PACKET:
            raise ShimError(f"a command of {len(packet)} bytes is too long: give it as a file or on standard input")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._send(packet, session)
            found = await answer
        finally:
            del self._answers[number]
        if "error" in found:
            raise ShimError(found["error"])
        return found["ok"]

    async def open_session(self, do: str, container: str, **details: Any) -> Session:
        """Exec or attach; raise ShimError when it is refused."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            await self.ask(do, container, theirs, **details)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Session(ours)

    async def close(self) -> None:
        """Leave the supervisor and its containers running."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _dial(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * supervisor.LARGEST_PACKET)
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        connection.setblocking(False)
        return connection

    def _start(self) -> None:
        """Start a supervisor; one that lives but cannot be reached (its socket was removed) goes first, with its
        containers."""
        cleanup.stop([self._folder])
        command = [sys.executable, "-S", "-E", "-m", "k8sext.infra.cri.shim", str(self._path), str(self._folder)]
        with (self._folder / "shim.log").open("ab") as output:
            done = subprocess.run(
                command,
                cwd=SOURCE_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
            )
        if done.returncode != 0:
            raise ShimError(
                f"the supervisor of this node's containers did not start; its last words are in {output.name}"
            )

    async def _send(self, packet: bytes, session: socket.socket | None) -> None:
        assert self._socket is not None
        while True:
            try:
                socket.send_fds(self._socket, [packet], [session.fileno()] if session is not None else [])
            except BlockingIOError:
                await asyncio.sleep(0.005)  # asyncio cannot wait for room and pass a descriptor too
            except OSError as problem:
                raise ShimError(
                    f"the supervisor of this node's containers does not answer: {os.strerror(problem.errno or 0)}"
                ) from None
            else:
                return

    async def _read(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while packet := await _receive(loop, connection):
            message = json.loads(packet)
            if "exited" in message:
                self._exited(message["exited"])
            elif (answer := self._answers.get(message["id"])) is not None and not answer.done():
                answer.set_result(message)
        connection.close()
        self._socket = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result({"error": "the supervisor of this node's containers died"})
        self._on_lost()

    def _exited(self, container: str) -> None:
        """Pass it on. This loop is the node's only ear: what goes wrong with one container is no reason to stop
        listening."""
        try:
            self._on_exit(container)
        except Exception:
            log.exception("the end of container %s was not noted", container)


async def _receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(connection, LARGEST_ANSWER)
    except OSError:
        return b""
