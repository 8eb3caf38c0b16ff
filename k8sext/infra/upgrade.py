"""Leave HTTP for another protocol on the same connection (`Upgrade`, RFC 9110 section 7.8), on both sides.

For protocols that aiohttp does not speak itself, such as SPDY; for WebSocket it has better. Here stand the names, too,
by which kubelet and runtime know what is spoken afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from k8sext.infra.connect_proxy import Connection

if TYPE_CHECKING:  # it is large, and a runtime may never need it
    from aiohttp import web

SPDY = "SPDY/3.1"
PORT_FORWARD = "portforward.k8s.io"
TUNNEL = f"{SPDY}+{PORT_FORWARD}"
"""A WebSocket that carries SPDY."""
V5 = "v5.channel.k8s.io"
CHANNELS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io")
"""WebSockets whose messages begin with a channel."""
COMMAND_CHANNELS = (V5, *CHANNELS)
"""Those for exec and attach: v5 can say that stdin has ended (KEP-4006)."""
SUBPROTOCOL, VERSION = "Sec-WebSocket-Protocol", "X-Stream-Protocol-Version"
"""The headers in which a client offers what it speaks, over a WebSocket and over SPDY."""

Headers = Sequence[tuple[str, str]]
"""A name may come several times."""

LIMIT = 1 << 16
"""Bytes that may wait to be read before the sender has to wait, too."""


class UpgradeRefused(Exception):
    """The server stays with HTTP; the message is what it said."""


def wanted(request: web.Request) -> str:
    """The protocol that a client wants instead of HTTP, in lower case; "" if it wants none."""
    return request.headers.get("Upgrade", "").lower()


def offered(request: web.Request, header: str) -> list[str]:
    """What a client offers in a header, which may come several times, or hold several names."""
    names = (name.strip() for line in request.headers.getall(header, []) for name in line.split(","))
    return [name for name in names if name]


@asynccontextmanager
async def accept(request: web.Request, protocol: str, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
    """Answer an upgrade request with yes, and hold the connection as a stream of bytes; it is closed at the end.

    What the handler of the request returns afterwards reaches nobody.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left")
    reader = asyncio.StreamReader(limit=LIMIT)
    reader.set_transport(transport)
    request.protocol.set_parser(_Bytes(reader))  # type: ignore[arg-type]
    writer = asyncio.StreamWriter(transport, request.protocol, reader, asyncio.get_running_loop())
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}"]
    writer.write(_head([*lines, *(f"{name}: {value}" for name, value in headers.items())]))
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def connect(url: str, protocol: str, headers: Headers) -> AsyncIterator[tuple[Connection, dict[str, str]]]:
    """Ask a server (http, no TLS) for an upgrade, and hold the connection as a stream of bytes; it is closed at the
    end. With it come the headers of the answer, their names in lower case. Raises UpgradeRefused, OSError."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port, limit=LIMIT)
    try:
        lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.netloc}", "Content-Length: 0"]
        lines += ["Connection: Upgrade", f"Upgrade: {protocol}"]
        writer.write(_head([*lines, *(f"{name}: {value}" for name, value in headers)]))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionResetError("no answer to the upgrade") from error
        if b" 101 " not in head.partition(b"\r\n")[0]:
            said = await reader.read(LIMIT) if b"content-length: 0" not in head.lower() else b""
            raise UpgradeRefused(said.decode(errors="replace").strip() or head.decode(errors="replace"))
        fields = (line.partition(":") for line in head.decode().splitlines()[1:] if line)
        yield (reader, writer), {name.strip().lower(): value.strip() for name, _, value in fields}
    finally:
        writer.close()


async def join(near: Connection, far: Connection) -> None:
    """Carry bytes both ways until both directions have ended."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_carry(near[0], far[1]))
        group.create_task(_carry(far[0], near[1]))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(LIMIT):
            writer.write(chunk)
            await writer.drain()
    # neither side of such a protocol half-closes the connection itself
    writer.close()


class _Bytes:
    """Takes what arrives, in the place of aiohttp's own parsers."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


def _head(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()
