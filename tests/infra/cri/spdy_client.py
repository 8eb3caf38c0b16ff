"""The client's side of SPDY/3.1, for tests: it opens streams, and keeps what comes back."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import defaultdict

from k8sext.infra.cri.streaming import spdy
from k8sext.infra.cri.streaming.spdy import FIN, VERSION
from k8sext.infra.cri.streaming.spdy_dictionary import DICTIONARY


class Client:
    """One connection. What the server sent stands in `data`, `ended`, `reset`, `replied`, `pings`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.deflate, self.inflate = zlib.compressobj(zdict=DICTIONARY), zlib.decompressobj(zdict=DICTIONARY)
        self.last = -1
        self.data: defaultdict[int, bytes] = defaultdict(bytes)
        self.ended, self.reset, self.replied = set[int](), set[int](), set[int]()
        self.pings: list[int] = []
        self.reading = asyncio.create_task(self._read())

    def frame(self, kind: int, body: bytes, flags: int = 0) -> None:
        self.writer.write(struct.pack("!II", VERSION << 16 | kind, flags << 24 | len(body)) + body)

    def block(self, headers: dict[str, str]) -> bytes:
        words = [word.encode() for pair in headers.items() for word in pair]
        text = struct.pack("!I", len(headers)) + b"".join(struct.pack("!I", len(word)) + word for word in words)
        return self.deflate.compress(text) + self.deflate.flush(zlib.Z_SYNC_FLUSH)

    def open(self, headers: dict[str, str], *, fin: bool = False) -> int:
        self.last += 2
        self.frame(spdy.SYN_STREAM, struct.pack("!IIH", self.last, 0, 0) + self.block(headers), FIN * fin)
        return self.last

    def more_headers(self, number: int, headers: dict[str, str]) -> None:
        self.frame(spdy.HEADERS, struct.pack("!I", number) + self.block(headers))

    def send(self, number: int, data: bytes, *, fin: bool = False) -> None:
        self.writer.write(struct.pack("!II", number, FIN * fin << 24 | len(data)) + data)

    def give_up(self, number: int) -> None:
        self.frame(spdy.RST_STREAM, struct.pack("!II", number, 5))

    def ping(self, number: int) -> None:
        self.frame(spdy.PING, struct.pack("!I", number))

    def go_away(self) -> None:
        self.frame(spdy.GOAWAY, struct.pack("!II", 0, 0))

    async def _read(self) -> None:
        while True:
            try:
                first, second = struct.unpack("!II", await self.reader.readexactly(8))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            body = await self.reader.readexactly(second & 0xFFFFFF)
            if not first >> 31:
                self.data[first] += body
                if second >> 24 & FIN:
                    self.ended.add(first)
                continue
            assert first >> 16 == VERSION
            number = struct.unpack_from("!I", body)[0]
            match first & 0xFFFF:
                case spdy.SYN_REPLY:
                    assert self.inflate.decompress(body[4:]) == bytes(4)
                    self.replied.add(number)
                case spdy.RST_STREAM:
                    self.reset.add(number)
                case spdy.PING:
                    self.pings.append(number)
                case kind:
                    raise AssertionError(f"frame {kind}")

    async def close(self) -> None:
        self.writer.close()
        await self.reading
