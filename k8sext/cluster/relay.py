"""How the API server reaches pods that have no network of their own.

A pod shows an address of the pod network, 10.244.n.m, and its process listens on the loopback address 127.X.n.m. The API server
is told (egress selector, KEP-1281) to reach pods and nodes through an HTTP CONNECT proxy behind a unix socket; this is that proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

POD_NETWORK = "10.244"


def loopback_address(pod_address: str, loopback: str) -> str | None:
    """10.244.n.m to <loopback>.n.m; None for an address outside the pod network, to which nobody is let through."""
    match = re.fullmatch(rf"{re.escape(POD_NETWORK)}\.(\d{{1,3}}\.\d{{1,3}})", pod_address)
    return f"{loopback}.{match[1]}" if match else None


async def serve(socket: Path, loopback: str) -> asyncio.Server:
    """Relay CONNECT requests that arrive on socket; loopback is the first half of the addresses behind it, as 127.244."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                address, port = await _target(head, loopback)
                far_reader, far_writer = await asyncio.open_connection(address, port)
            except (ValueError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{error}".encode())
                return
            with contextlib.closing(far_writer):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    socket.unlink(missing_ok=True)
    return await asyncio.start_unix_server(relay, socket)


async def _target(head: bytes, loopback: str) -> tuple[str, int]:
    match = re.match(rb"CONNECT ([\d.]+):(\d+) HTTP/1", head)
    address = loopback_address(match[1].decode(), loopback) if match else None
    if match is None or address is None:
        raise ValueError(
            f"the relay only reaches {POD_NETWORK}.n.m:port, not {head.splitlines()[0].decode(errors='replace')}"
        )
    return address, int(match[2])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes until the end, then say the end: the other direction may have more to say."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
