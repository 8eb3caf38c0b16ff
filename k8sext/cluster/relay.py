"""How the API server reaches pods that have no network of their own.

A pod shows an address of the pod network, 10.244.n.m, and its process listens on the loopback address 127.X.n.m. The API server
is told (egress selector, KEP-1281) to reach pods and nodes through an HTTP CONNECT proxy behind a unix socket; this is that proxy.
Pods of RuntimeClass `oci` do have a network of their own: where nobody listens on the loopback address, the request is passed on
to the proxy in that network (k8sext.infra.cri.oci.room), and a second socket leads from there to the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

from k8sext.infra.cri.oci.room import carry

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
                far_reader, far_writer = await _reach(head, loopback, socket.with_name("pods.sock"))
            except (
                ValueError,
                OverflowError,
                OSError,
                asyncio.IncompleteReadError,
                asyncio.LimitOverrunError,
            ) as error:
                writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{error}".encode())
                return
            with contextlib.closing(far_writer):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    socket.unlink(missing_ok=True)
    return await asyncio.start_unix_server(relay, socket)


async def serve_api(socket: Path, port: int) -> asyncio.Server:
    """Lead connections that arrive on socket to the API server at this machine's port: the way out of the pods' own network."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            with contextlib.closing(far_writer):
                await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    socket.unlink(missing_ok=True)
    return await asyncio.start_unix_server(forward, socket)


async def _reach(head: bytes, loopback: str, pods: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to what a CONNECT request names. Raises ValueError or OSError."""
    address, port = await _target(head, loopback)
    try:
        return await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        if not pods.exists():
            raise
    reader, writer = await asyncio.open_unix_connection(pods)
    writer.write(head)
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in answer:
        writer.close()
        raise ConnectionRefusedError((await reader.read(500)).decode(errors="replace"))
    return reader, writer


async def _target(head: bytes, loopback: str) -> tuple[str, int]:
    match = re.match(rb"CONNECT ([\d.]+):(\d+) HTTP/1", head)
    address = loopback_address(match[1].decode(), loopback) if match else None
    if match is None or address is None:
        raise ValueError(
            f"the relay only reaches {POD_NETWORK}.n.m:port, not {head.splitlines()[0].decode(errors='replace')}"
        )
    return address, int(match[2])
