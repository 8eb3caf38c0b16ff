"""The CONNECT proxy and the one who dials through it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from k8sext.infra import connect_proxy


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"ready ")  # unasked: it may arrive together with the proxy's answer
    writer.write((await reader.read()).upper())
    writer.write_eof()


async def test_what_the_pod_says_at_once_is_not_lost_behind_the_proxys_answer(tmp_path: Path) -> None:
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as pod:
        port = pod.sockets[0].getsockname()[1]

        async def connect(address: str, asked: int) -> connect_proxy.Connection:
            assert (address, asked) == ("10.244.1.130", 80)
            return await asyncio.open_connection("127.0.0.1", port)

        async with await connect_proxy.serve(tmp_path / "pods.sock", connect):
            connection = await connect_proxy.dial(tmp_path / "pods.sock", "10.244.1.130", 80)
            reader, writer = await asyncio.open_connection(sock=connection)
            writer.write(b"hello")
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 30) == b"ready HELLO"
            writer.close()


async def test_the_proxys_reason_reaches_the_one_who_dials(tmp_path: Path) -> None:
    async def connect(address: str, port: int) -> connect_proxy.Connection:
        raise ConnectionError("Connection refused")

    async with await connect_proxy.serve(tmp_path / "pods.sock", connect):
        with pytest.raises(ConnectionError, match=r"^Connection refused$"):
            await connect_proxy.dial(tmp_path / "pods.sock", "10.244.1.130", 80)
        with pytest.raises(ConnectionError, match=r"only reaches 10\.244\.n\.m:port"):
            await connect_proxy.dial(tmp_path / "pods.sock", "192.168.1.1", 80)


async def test_without_a_proxy_the_one_who_dials_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="the pods' own network is not there"):
        await connect_proxy.dial(tmp_path / "pods.sock", "10.244.1.130", 80)


async def test_a_connection_that_cannot_be_forwarded_is_closed(tmp_path: Path) -> None:
    async def connect() -> connect_proxy.Connection:
        raise ConnectionRefusedError

    async with await asyncio.start_unix_server(connect_proxy.forward(connect), tmp_path / "api.sock"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "api.sock")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
