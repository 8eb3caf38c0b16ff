"""HTTP CONNECT at a unix socket: the way to pods for those whose network is another one (RFC 9110, section 9.3.6).

The API server speaks it to reach pods and nodes (egress selector, KEP-1281), the kubelet to probe pods with a network
of their own:

    CONNECT 10.244.1.130:8080 HTTP/1.1        HTTP/1.1 200 OK, and from here on every byte goes through
                                              HTTP/1.1 502 Bad Gateway, and the reason

A socket stands in a folder and not in a network, so it leads from one network into the other. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from k8sext.infra.addresses import is_pod_address

BLOCK = 1 << 16
END_OF_HEAD = b"\r\n\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def dial(proxy: Path, address: str, port: int) -> socket.socket:
    """Return a connection to a pod's port through the proxy at a socket. Raises OSError, with the proxy's reason if
    it has one."""
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        await loop.sock_connect(connection, str(proxy))
        await loop.sock_sendall(connection, f"CONNECT {address}:{port} HTTP/1.1\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(END_OF_HEAD):  # byte by byte: what follows belongs to the pod
            if not (byte := await loop.sock_recv(connection, 1)):
                raise ConnectionError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            answer += byte
        if b" 200 " not in answer:
            raise ConnectionError((await loop.sock_recv(connection, 500)).decode(errors="replace"))
    except FileNotFoundError:
        connection.close()
        raise ConnectionError("the pods' own network is not there: nobody serves its proxy") from None
    except BaseException:
        connection.close()
        raise
    return connection


async def serve(proxy: Path, connect: Callable[[str, int], Awaitable[Connection]]) -> asyncio.Server:
    """Be the proxy at a socket; `connect` makes the connection to a pod's address and port. It may raise ValueError
    or OSError."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                far = await connect(*_target(await reader.readuntil(END_OF_HEAD)))
            except (
                ValueError,
                OverflowError,
                OSError,
                asyncio.IncompleteReadError,
                asyncio.LimitOverrunError,
            ) as error:
                writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{error}".encode())
                return
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await _join((reader, writer), far)

    proxy.unlink(missing_ok=True)
    return await asyncio.start_unix_server(answer, proxy)


def forward(connect: Callable[[], Awaitable[Connection]]) -> Serve:
    """Return the callback of a server that leads every connection to one that `connect` makes; it is closed where
    that fails."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            await _join((reader, writer), await connect())

    return answer


def _target(head: bytes) -> tuple[str, int]:
    match = re.match(rb"CONNECT ([\d.]+):(\d+) HTTP/1", head)
    if match is None or not is_pod_address(address := match[1].decode()):
        first_line = head.splitlines()[0].decode(errors="replace")
        raise ValueError(f"this proxy only reaches 10.244.n.m:port, not {first_line}")
    return address, int(match[2])


async def _join(near: Connection, far: Connection) -> None:
    with contextlib.closing(far[1]):
        await asyncio.gather(_carry(near[0], far[1]), _carry(far[0], near[1]))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes until the end, then say the end: the other direction may have more to say."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(BLOCK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
