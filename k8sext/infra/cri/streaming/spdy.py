"""SPDY/3.1, the server's side: many streams in one connection, of which the client opens each.

    control frame    1 | version (15 bits) | type (16) | flags (8) | length (24) | what the type says
    data frame       0 | stream (31 bits)              | flags (8) | length (24) | bytes

HTTP/2 grew out of it. Kubernetes keeps it for port-forward (and, from older clients, for exec and attach). Left out is
flow control: neither side of Kubernetes has it (github.com/moby/spdystream), so a stream that nobody reads holds up the
others of its connection. Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Protocol

from k8sext.infra.cri.streaming.spdy_dictionary import DICTIONARY

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
FIN = 0x01
CANCEL = 5
VERSION = 0x8003
LONGEST_HEADERS = 1 << 16
BLOCK = 1 << 15
CHUNKS_WAITING = 16
"""Chunks of data that wait to be read before the whole connection waits."""


class ProtocolError(Exception):
    """The client does not speak SPDY/3.1."""


class Stream:
    """One stream: bytes both ways, and each way has its own end."""

    def __init__(self, connection: Connection, number: int, headers: dict[str, str]) -> None:
        """`headers`: what the client says of it, names in lower case."""
        self.number, self.headers = number, headers
        self._connection = connection
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_WAITING)
        self._deaf = self._ended = self._lost = False

    async def read(self) -> bytes:
        """Return the next bytes, b"" when the client has ended its direction. Raises ConnectionResetError when it gave
        up the stream."""
        if self._ended:
            return b""
        if self._lost and self._chunks.empty():
            raise ConnectionResetError("the client gave up the stream")
        chunk = await self._chunks.get()
        if chunk is None:
            raise ConnectionResetError("the client gave up the stream")
        self._ended = not chunk
        return chunk

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises OSError when the connection is gone."""
        for at in range(0, len(data), BLOCK):
            await self._connection.send_data(self.number, 0, data[at : at + BLOCK])

    async def close(self) -> None:
        """End our direction."""
        await self._connection.send_data(self.number, FIN, b"")

    async def reset(self) -> None:
        """Give up both directions."""
        await self._connection.send(RST_STREAM, 0, struct.pack("!II", self.number, CANCEL))
        self.forget()

    def forget(self) -> None:
        """Take nothing more: what still arrives is dropped."""
        self._deaf = True
        self._connection.forget(self.number)
        while not self._chunks.empty():
            self._chunks.get_nowait()

    async def take(self, chunk: bytes) -> None:
        """The connection received bytes for it, or b"", the end."""
        if not self._deaf:
            await self._chunks.put(chunk)

    def lose(self) -> None:
        """The client gave it up. What arrived before can still be read."""
        self._lost = True
        if not self._chunks.full():
            self._chunks.put_nowait(None)


class Writer(Protocol):
    """What an asyncio.StreamWriter is to us."""

    def is_closing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class Connection:
    """A connection whose streams the client opens."""

    def __init__(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer
        self._streams: dict[int, Stream] = {}
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    async def streams(self) -> AsyncIterator[Stream]:
        """Yield each stream that the client opens, until it leaves. Frames are only read while somebody waits for the
        next. Raises ProtocolError."""
        try:
            while True:
                first, second = struct.unpack("!II", await self._reader.readexactly(8))
                flags, body = second >> 24, await self._reader.readexactly(second & 0xFFFFFF)
                if not first >> 31:
                    await self._data(first, flags, body)
                elif first >> 16 != VERSION:
                    raise ProtocolError(f"version {first >> 16 & 0x7FFF} of SPDY is not 3")
                elif (kind := first & 0xFFFF) == SYN_STREAM:
                    yield await self._open(flags, body)
                elif kind == GOAWAY:
                    return
                else:
                    await self._control(kind, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"a frame of SPDY makes no sense: {error}") from error
        finally:
            for stream in list(self._streams.values()):
                stream.lose()

    async def _data(self, number: int, flags: int, body: bytes) -> None:
        if stream := self._streams.get(number):
            if body:
                await stream.take(body)
            if flags & FIN:
                await stream.take(b"")

    async def _open(self, flags: int, body: bytes) -> Stream:
        number = struct.unpack_from("!I", body)[0] & 0x7FFFFFFF
        stream = self._streams[number] = Stream(self, number, self._headers(body[10:]))
        await self.send(SYN_REPLY, 0, struct.pack("!I", number) + self._no_headers())
        if flags & FIN:
            await stream.take(b"")
        return stream

    async def _control(self, kind: int, body: bytes) -> None:
        if kind == PING:
            await self.send(PING, 0, body)
        elif kind == HEADERS:
            self._headers(body[4:])  # read for the sake of the compression, which is one for the whole connection
        elif kind == RST_STREAM:
            number = struct.unpack_from("!I", body)[0] & 0x7FFFFFFF
            if stream := self._streams.pop(number, None):
                stream.lose()

    def forget(self, number: int) -> None:
        """A stream is over: frames for it mean nothing any more."""
        self._streams.pop(number, None)

    async def send(self, kind: int, flags: int, body: bytes) -> None:
        """Send a control frame. Raises OSError."""
        await self._send((VERSION << 16) | kind, flags, body)

    async def send_data(self, number: int, flags: int, body: bytes) -> None:
        """Send a data frame. Raises OSError."""
        await self._send(number, flags, body)

    async def _send(self, first: int, flags: int, body: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client left")
        self._writer.write(struct.pack("!II", first, flags << 24 | len(body)) + body)
        await self._writer.drain()

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._inflate.decompress(block, LONGEST_HEADERS)
        if self._inflate.unconsumed_tail:
            raise ProtocolError(f"the headers of a stream are longer than {LONGEST_HEADERS} bytes")
        (count,), at, words = struct.unpack_from("!I", text), 4, list[str]()
        for _ in range(2 * count):
            (length,) = struct.unpack_from("!I", text, at)
            words.append(text[at + 4 : at + 4 + length].decode())
            at += 4 + length
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}

    def _no_headers(self) -> bytes:
        return self._deflate.compress(bytes(4)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
