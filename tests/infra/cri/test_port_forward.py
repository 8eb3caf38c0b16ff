"""SPDY, and ports forwarded over it and over WebSockets, between sockets of this process."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8sext.infra import upgrade
from k8sext.infra.cri.streaming import port_forward, spdy
from k8sext.infra.cri.streaming.server import StreamingServer
from k8sext.infra.cri.streaming.spdy_dictionary import DICTIONARY
from tests.infra.cri.spdy_client import Client
from tests.support.eventually import eventually_async

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[int]:
    """A server on loopback; its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says what it hears, and goodbye."""
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    writer.write(b"bye")
    writer.close()


@asynccontextmanager
async def forwarding(*ports: int) -> AsyncIterator[str]:
    """The URL of a runtime's streaming server at which ports of this machine can be had."""
    server, opened = StreamingServer(), list[asyncio.StreamWriter]()

    @asynccontextmanager
    async def dialer() -> AsyncIterator[Callable[[int], Awaitable[Connection]]]:
        async def dial(port: int) -> Connection:
            found = await asyncio.open_connection("127.0.0.1", port)
            opened.append(found[1])
            return found

        yield dial

    yield await server.offer_ports("pod-1", ports, dialer)
    await server.close()
    await eventually_async(lambda: all(writer.is_closing() for writer in opened))


@asynccontextmanager
async def spdy_client(url: str) -> AsyncIterator[Client]:
    headers = [("X-Stream-Protocol-Version", "portforward.k8s.io")]
    async with upgrade.connect(url, "SPDY/3.1", headers) as ((reader, writer), answer):
        assert answer["x-stream-protocol-version"] == "portforward.k8s.io"
        client = Client(reader, writer)
        yield client
        await client.close()


def pair(client: Client, port: object, request_id: str | None = None) -> tuple[int, int]:
    """Open both streams of a connection, the error stream first, as client-go does."""
    more = {} if request_id is None else {"requestid": request_id}
    error = client.open({"streamtype": "error", "port": str(port)} | more, fin=True)
    return error, client.open({"streamtype": "data", "port": str(port)} | more)


def test_the_dictionary_is_that_of_the_specification() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2 and len(DICTIONARY) == 1423


HEADERS = st.dictionaries(st.text("abcdefgh-", min_size=1), st.text(max_size=50), max_size=5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(HEADERS, st.lists(st.binary(max_size=70_000), max_size=4)), max_size=5), st.randoms())
async def test_streams_arrive_whole_however_they_are_mixed(
    streams: list[tuple[dict[str, str], list[bytes]]], order: random.Random
) -> None:
    found: list[tuple[dict[str, str], bytes]] = []

    async def collect(stream: spdy.Stream) -> None:
        data = b""
        while chunk := await stream.read():
            data += chunk
        await stream.write(data)
        await stream.close()
        found.append((stream.headers, data))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.TaskGroup() as group:
            async for stream in spdy.Connection(reader, writer).streams():
                group.create_task(collect(stream))
        writer.close()

    async with served(serve) as port:
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        left = [(client.open(headers), list(chunks)) for headers, chunks in streams]
        numbers = [number for number, _ in left]
        while left:
            number, chunks = order.choice(left)
            if chunks:
                client.send(number, chunks.pop(0))
                client.more_headers(number, {"more": "words"})
            else:
                client.send(number, b"", fin=True)
                left.remove((number, chunks))
        client.ping(7)
        await eventually_async(lambda: len(found) == len(streams) and client.ended == set(numbers), every=0.001)
        await eventually_async(lambda: client.pings == [7], every=0.001)
        assert client.replied == set(numbers)
        sent = [(headers, b"".join(chunks)) for headers, chunks in streams]
        assert sorted(found, key=repr) == sorted(sent, key=repr)
        assert [client.data[number] for number in numbers] == [data for _, data in sent]
        await client.close()


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!II", 0x8002 << 16 | 1, 0),  # another version
        struct.pack("!II", 0x8003 << 16 | 1, 20) + bytes(20),  # headers that are not compressed
        struct.pack("!II", 0x8003 << 16 | 1, 2) + bytes(2),  # too short for a stream's number
        struct.pack("!II", 0x8003 << 16 | 3, 0),
    ],
)
async def test_what_is_not_spdy_ends_the_connection_and_not_the_server(frame: bytes) -> None:
    async with served(echo) as port, forwarding() as url, spdy_client(url) as client:
        error, data = pair(client, port)
        client.send(data, b"hello")
        await eventually_async(lambda: client.data[data] == b"hello")
        client.writer.write(frame)
        await asyncio.wait_for(client.reading, 15)
        assert error not in client.ended


async def test_many_connections_go_both_ways_and_each_direction_has_its_end() -> None:
    async with served(echo) as port, forwarding() as url, spdy_client(url) as client:
        sent = {}
        for number in range(30):
            error, data = pair(client, port, str(number))
            sent[data] = os.urandom(100_000), error
            client.send(data, sent[data][0], fin=True)
        await eventually_async(lambda: client.ended >= sent.keys() | {error for _, error in sent.values()})
        for data, (said, error) in sent.items():
            assert client.data[data] == said + b"bye"
            assert client.data[error] == b""


async def test_a_pod_may_end_first_and_hear_on() -> None:
    heard = bytearray()

    async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"that is all")
        writer.write_eof()
        heard.extend(await reader.read())
        writer.close()

    async with served(end_first) as port, forwarding() as url, spdy_client(url) as client:
        error, data = pair(client, port)
        await eventually_async(lambda: data in client.ended)
        assert client.data[data] == b"that is all" and error not in client.ended
        client.send(data, b"still here", fin=True)
        await eventually_async(lambda: error in client.ended)
        assert heard == b"still here"


async def test_where_nobody_listens_the_error_stream_says_so_and_the_rest_goes_on() -> None:
    async with served(echo) as port, served(echo) as closed, forwarding() as url, spdy_client(url) as client:
        pass
    async with served(echo) as port, forwarding() as url, spdy_client(url) as client:
        error, data = pair(client, closed)
        await eventually_async(lambda: error in client.ended and data in client.reset)
        said = client.data[error].decode()
        assert said == f"error forwarding port {closed} to pod pod-1, uid : Connection refused"
        _, data = pair(client, port)
        client.send(data, b"well", fin=True)
        await eventually_async(lambda: client.data[data] == b"wellbye")


async def test_a_second_stream_of_the_same_kind_is_given_up_and_the_pair_goes_on() -> None:
    async with served(echo) as port, forwarding() as url, spdy_client(url) as client:
        first, second = (client.open({"streamtype": "data", "port": str(port), "requestid": "1"}) for _ in range(2))
        await eventually_async(lambda: client.reset == {second})
        client.open({"streamtype": "error", "port": str(port), "requestid": "1"}, fin=True)
        client.send(first, b"well", fin=True)
        await eventually_async(lambda: client.data[first] == b"wellbye")


@pytest.mark.parametrize(("kind", "port"), [("data", "0"), ("data", "65536"), ("error", "x"), ("other", "80")])
async def test_a_stream_that_makes_no_sense_is_given_up_alone(kind: str, port: str) -> None:
    async with served(echo) as good, forwarding() as url, spdy_client(url) as client:
        bad = client.open({"streamtype": kind, "port": port, "requestid": "1"})
        await eventually_async(lambda: bad in client.reset)
        _, data = pair(client, good, "1")
        client.send(data, b"well", fin=True)
        await eventually_async(lambda: client.data[data] == b"wellbye")


async def test_half_a_pair_is_given_up_and_its_number_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forward, "PAIR_SECONDS", 0.05)
    async with served(echo) as port, forwarding() as url, spdy_client(url) as client:
        alone = client.open({"streamtype": "data", "port": str(port), "requestid": "1"})
        await eventually_async(lambda: alone in client.reset)
        _, data = pair(client, port, "1")
        client.send(data, b"well", fin=True)
        await eventually_async(lambda: client.data[data] == b"wellbye")


async def test_streams_that_are_over_are_forgotten() -> None:
    kept: list[spdy.Connection] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(spdy.Connection(reader, writer))
        async with asyncio.TaskGroup() as group:
            async for stream in kept[0].streams():
                group.create_task(stream.reset())
        writer.close()

    async with served(serve) as port:
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        opened = {client.open({}) for _ in range(50)}
        await eventually_async(lambda: client.reset == opened)
        assert not kept[0]._streams
        await client.close()


async def test_who_gives_up_a_stream_or_leaves_frees_the_pods_connection(caplog: pytest.LogCaptureFixture) -> None:
    ended = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        writer.write(b"hello")
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass
        ended += 1
        writer.close()

    async with served(count) as port, forwarding() as url, spdy_client(url) as client:
        first, second, third = (pair(client, port, str(number))[1] for number in range(3))
        await eventually_async(lambda: all(client.data[one] for one in (first, second, third)))
        client.give_up(first)
        await eventually_async(lambda: ended == 1)
        client.send(second, b"x" * 100_000)
        client.go_away()
        await eventually_async(lambda: ended == 3)
    assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_a_pod_that_does_not_read_holds_up_its_sender_and_not_the_memory() -> None:
    let_go = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(str(len(await reader.read())).encode())
        writer.close()

    async with served(deaf) as port, forwarding() as url, spdy_client(url) as client:
        _, data = pair(client, port)
        block, total = bytes(1 << 15), 64 << 20

        async def send() -> None:
            for _ in range(total // len(block)):
                client.send(data, block)
                await client.writer.drain()
            client.send(data, b"", fin=True)

        sending = asyncio.create_task(send())
        await eventually_async(lambda: client.writer.transport.get_write_buffer_size() > 0)
        assert not sending.done()
        let_go.set()
        await asyncio.wait_for(sending, 60)
        await eventually_async(lambda: client.data[data] == str(total).encode())


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", None])
async def test_a_websocket_has_two_channels_for_each_port(protocol: str | None) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.readexactly(5))
        await writer.drain()
        writer.close()

    async with served(greet) as port, served(greet) as closed, forwarding() as url:
        pass
    async with served(greet) as port, forwarding(port, closed) as url, aiohttp.ClientSession() as session:
        offered = [protocol] if protocol else []
        async with session.ws_connect(url, protocols=offered) as channel:
            assert channel.protocol == protocol
            name = b"world"
            if protocol and "base64" in protocol:
                await channel.send_str("0" + base64.b64encode(name).decode())
            else:
                await channel.send_bytes(b"\0" + name)
            found = dict.fromkeys(range(4), b"")
            async for message in channel:
                if isinstance(message.data, bytes):
                    found[message.data[0]] += message.data[1:]
                else:
                    found[int(message.data[0])] += base64.b64decode(message.data[1:])
    first, second = struct.pack("<H", port), struct.pack("<H", closed)
    refused = f"error forwarding port {closed} to pod pod-1, uid : Connection refused".encode()
    assert found == {0: first + b"hello world", 1: first, 2: second, 3: second + refused}


async def test_spdy_comes_in_a_websocket_too() -> None:
    protocol = "SPDY/3.1+portforward.k8s.io"
    async with (
        served(echo) as port,
        forwarding() as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=[protocol]) as channel,
    ):
        assert channel.protocol == protocol
        near, far = socket.socketpair()  # what the client says to one end goes through the WebSocket
        client = Client(*await asyncio.open_connection(sock=near))
        tunnel = await asyncio.open_connection(sock=far)

        async def outward() -> None:
            while chunk := await tunnel[0].read(1000):
                await channel.send_bytes(chunk)

        async def inward() -> None:
            async for message in channel:
                tunnel[1].write(message.data)

        carrying = [asyncio.create_task(outward()), asyncio.create_task(inward())]
        sent = os.urandom(100_000)
        error, data = pair(client, port)
        client.send(data, sent, fin=True)
        await eventually_async(lambda: {error, data} <= client.ended)
        assert client.data[data] == sent + b"bye"
        await client.close()
        for task in carrying:
            task.cancel()
        tunnel[1].close()


async def test_who_asks_for_neither_is_told_what_there_is() -> None:
    async with forwarding(80) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (answer.status, await answer.text()) == (
            400,
            "ports are forwarded over SPDY/3.1 or a WebSocket: ask for an upgrade to one of them\n",
        )
    async with forwarding(80) as url:
        with pytest.raises(upgrade.UpgradeRefused, match="unable to negotiate protocol"):
            async with upgrade.connect(url, "SPDY/3.1", [("X-Stream-Protocol-Version", "v1.other")]):
                pass
