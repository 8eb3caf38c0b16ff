"""The streams of one program as numbered channels, over a WebSocket or over SPDY: what a command's caller is to us.

Channels: 0 stdin, 1 stdout, 2 stderr, 3 how it ended, 4 the terminal's size. Over a WebSocket the first byte of a
message is the channel (in the base64 protocols the first digit, and the rest is encoded); only `v5` can say that stdin
has ended. Over SPDY each channel is a stream, which says its `streamtype`.
Source: k8s.io/cri-streaming/pkg/streaming/remotecommand.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from k8sext.infra.cri.shim.stdio import CLOSE, EXIT, RESIZE, STDERR, STDIN, STDOUT
from k8sext.infra.cri.streaming import spdy
from k8sext.infra.upgrade import V5

if TYPE_CHECKING:
    from aiohttp import web

SPDY = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
TYPES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": EXIT, "resize": RESIZE}
PATIENCE = 30.0


class Channels(Protocol):
    """The caller's end."""

    @property
    def protocol(self) -> str: ...

    async def send(self, channel: int, data: bytes) -> None:
        """Raises OSError when the caller has left."""
        ...

    def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the caller sends, by channel; (CLOSE, b"") when stdin has ended. Ends when the caller leaves."""
        ...


class WebSocketChannels:
    """Over a WebSocket that is open."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket, self.protocol = socket, socket.ws_protocol or ""
        self._encoded = "base64" in self.protocol

    async def send(self, channel: int, data: bytes) -> None:
        if self._encoded:
            await self._socket.send_str(str(channel) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes([channel]) + data)

    async def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        async for message in self._socket:
            data = message.data if isinstance(message.data, bytes) else str(message.data).encode()
            if not data:
                continue
            if not self._encoded:
                channel, data = data[0], data[1:]
            elif data[:1].isdigit():
                channel = int(data[:1])
                try:
                    data = base64.b64decode(data[1:])
                except binascii.Error:
                    continue
            else:
                continue
            if channel != CLOSE:
                yield channel, data
            elif self.protocol == V5 and data == bytes([STDIN]):
                yield CLOSE, b""


class SpdyChannels:
    """Over the streams of a SPDY connection."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self._streams: dict[int, spdy.Stream] = {}
        self._received: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(spdy.CHUNKS_WAITING)
        self._changed = asyncio.Event()
        self._gone = False

    @asynccontextmanager
    async def opened(self, connection: spdy.Connection, wanted: set[int]) -> AsyncIterator[None]:
        """Wait until the client has opened these channels, and serve them; at the end they are closed. Raises
        TimeoutError, ConnectionResetError."""
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(self._accept(connection, group))
            try:
                async with asyncio.timeout(PATIENCE):
                    while not wanted <= self._streams.keys():
                        if self._gone:
                            raise ConnectionResetError("the client left")
                        self._changed.clear()
                        await self._changed.wait()
                yield
                with contextlib.suppress(OSError):
                    for stream in self._streams.values():
                        await stream.close()
            finally:
                accepting.cancel()
                for stream in self._streams.values():
                    stream.forget()
                    stream.lose()
                while not self._received.empty():
                    self._received.get_nowait()

    async def send(self, channel: int, data: bytes) -> None:
        if stream := self._streams.get(channel):
            await stream.write(data)

    async def receive(self) -> AsyncIterator[tuple[int, bytes]]:
        while (packet := await self._received.get()) is not None:
            yield packet

    async def _accept(self, connection: spdy.Connection, group: asyncio.TaskGroup) -> None:
        with contextlib.suppress(spdy.ProtocolError):
            async for stream in connection.streams():
                channel = TYPES.get(stream.headers.get("streamtype", ""))
                if channel is None or channel in self._streams:
                    await stream.reset()
                    continue
                self._streams[channel] = stream
                self._changed.set()
                if channel in (STDIN, RESIZE):
                    group.create_task(self._take(channel, stream))
        self._gone = True
        self._changed.set()
        await self._received.put(None)

    async def _take(self, channel: int, stream: spdy.Stream) -> None:
        with contextlib.suppress(ConnectionResetError):
            while chunk := await stream.read():
                if channel == STDIN:
                    await self._received.put((STDIN, chunk))
                    continue
                for line in chunk.splitlines():  # a document a line; kubectl writes each at once
                    await self._received.put((RESIZE, line))
            if channel == STDIN:
                await self._received.put((CLOSE, b""))
