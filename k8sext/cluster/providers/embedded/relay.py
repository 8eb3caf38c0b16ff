"""How the API server reaches pods, and pods with a network of their own the API server.

The API server is told (egress selector, KEP-1281) to reach pods and nodes through an HTTP CONNECT proxy behind a unix
socket; this is that proxy. Where an address leads, the address plan says (k8sext.infra.addresses).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from k8sext.infra import connect_proxy
from k8sext.infra.addresses import has_own_network, loopback_address


async def serve(socket: Path, loopback: str) -> asyncio.Server:
    """Relay CONNECT requests that arrive on socket; loopback is the first half of the addresses behind it, as 127.244.

    What is for pods with a network of their own is handed on to the proxy in that network, pods.sock beside the socket.
    """

    async def connect(address: str, port: int) -> connect_proxy.Connection:
        if has_own_network(address):
            return await asyncio.open_connection(
                sock=await connect_proxy.dial(socket.with_name("pods.sock"), address, port)
            )
        return await asyncio.open_connection(loopback_address(address, loopback), port)

    return await connect_proxy.serve(socket, connect)


async def serve_api(socket: Path, port: int) -> asyncio.Server:
    """Lead connections that arrive on socket to the API server at this machine's port: the way out of the pods' own
    network."""
    socket.unlink(missing_ok=True)
    to_api_server = connect_proxy.forward(lambda: asyncio.open_connection("127.0.0.1", port))
    return await asyncio.start_unix_server(to_api_server, socket)
