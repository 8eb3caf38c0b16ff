"""The relay between the API server and pods: the pod network's addresses lead to loopback, and nothing else leads
anywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from k8sext.cluster.providers.embedded import relay
from k8sext.infra import connect_proxy


@pytest.fixture
async def socket(tmp_path: Path):
    server = await relay.serve(tmp_path / "egress.sock", "127.201")
    yield tmp_path / "egress.sock"
    server.close()


async def relayed(socket: Path, target: str) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return await reader.readuntil(b"\r\n\r\n"), reader, writer


async def test_bytes_travel_both_ways_and_each_end_is_passed_on(socket: Path) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read()  # until the other side has said all
        writer.write(heard.upper())
        writer.write_eof()

    async with await asyncio.start_server(shout, "127.201.3.7", 0) as server:
        port = server.sockets[0].getsockname()[1]
        head, reader, writer = await relayed(socket, f"10.244.3.7:{port}")
        assert head.startswith(b"HTTP/1.1 200")
        message = b"hello " * 50_000
        writer.write(message)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == message.upper()
        writer.close()


async def test_a_pod_with_a_network_of_its_own_is_reached_through_the_proxy_in_that_network(socket: Path) -> None:
    asked = []

    async def connect(address: str, port: int) -> connect_proxy.Connection:
        asked.append((address, port))
        raise ConnectionError("this one is asleep")

    async with await connect_proxy.serve(socket.with_name("pods.sock"), connect):
        head, reader, writer = await relayed(socket, "10.244.3.200:80")
    assert asked == [("10.244.3.200", 80)]
    assert head.startswith(b"HTTP/1.1 502") and await reader.read() == b"this one is asleep"
    writer.close()


@pytest.mark.parametrize(
    "target", ["192.168.1.1:80", "127.0.0.1:22", "10.244.1:80", "10.2440.1.1:80", "example.com:443", "nonsense"]
)
async def test_addresses_outside_the_pod_network_are_refused(socket: Path, target: str) -> None:
    head, reader, writer = await relayed(socket, target)
    assert head.startswith(b"HTTP/1.1 502")
    assert b"only reaches 10.244" in await reader.read()
    writer.close()


async def test_a_pod_that_does_not_listen_is_said_as_a_bad_gateway(socket: Path) -> None:
    head, reader, writer = await relayed(socket, "10.244.9.9:1")
    assert head.startswith(b"HTTP/1.1 502") and b"127.201.9.9" in await reader.read()
    writer.close()


async def test_garbage_does_not_stop_the_relay(socket: Path) -> None:
    for garbage in (b"\x16\x03\x01\r\n\r\n", b"x" * 100_000, b""):
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(garbage)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 30)
        writer.close()
    head, _, writer = await relayed(socket, "10.244.9.9:1")
    assert head.startswith(b"HTTP/1.1 502")
    writer.close()
