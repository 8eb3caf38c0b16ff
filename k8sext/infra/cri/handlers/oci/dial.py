"""Connections to a pod's own localhost, for port-forward: a helper process enters the pod's network and makes them.

A socket belongs to the network in which it was made, and can be handed on to a process that is elsewhere (SCM_RIGHTS,
unix(7)). So the helper makes it there and hands it to the runtime, which lives in the machine's network.

    python -S -E -m k8sext.infra.cri.handlers.oci.dial     reads ports (2 bytes each) from the socket that is its stdin

Its answers are one byte: 0 and a connection, or the number of the error. Standard library only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from k8sext.infra.connect_proxy import Connection
from k8sext.infra.cri.handlers.oci.network_namespace import SOURCE_ROOT


@asynccontextmanager
async def dialer(enter: Sequence[str]) -> AsyncIterator[Callable[[int], Awaitable[Connection]]]:
    """Keep a helper behind the command `enter`, and make connections by it. A call raises OSError."""
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        helper = await asyncio.create_subprocess_exec(
            *enter, sys.executable, "-S", "-E", "-m", __name__, stdin=theirs.fileno(), cwd=SOURCE_ROOT
        )
    one_at_a_time = asyncio.Lock()

    async def dial(port: int) -> Connection:
        async with one_at_a_time:
            connection = await asyncio.to_thread(_ask, link, port)
        return await asyncio.open_connection(sock=connection)

    try:
        yield dial
    finally:
        link.close()
        await helper.wait()


def _ask(link: socket.socket, port: int) -> socket.socket:
    link.send(port.to_bytes(2, "big"))
    answer, descriptors, _, _ = socket.recv_fds(link, 1, 1)
    if not answer:
        raise ConnectionResetError("the pod's network is gone")
    if not descriptors:
        raise OSError(answer[0], os.strerror(answer[0]))
    return socket.socket(fileno=descriptors[0])


def _serve(link: socket.socket) -> None:
    while asked := link.recv(2):
        try:
            connection = _connect(int.from_bytes(asked, "big"))
        except OSError as error:
            link.send(bytes([error.errno or 255]))
        else:
            with connection:
                socket.send_fds(link, [b"\0"], [connection.fileno()])


def _connect(port: int) -> socket.socket:
    try:
        return socket.create_connection(("127.0.0.1", port))
    except OSError as error:
        try:
            return socket.create_connection(("::1", port))
        except OSError:
            raise error from None


if __name__ == "__main__":
    _serve(socket.socket(fileno=sys.stdin.fileno()))
