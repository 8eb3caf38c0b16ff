"""Exec and attach: the API server's WebSocket on one side, the runtime's on the other, and every message handed on as
it is.

What the messages mean (v5.channel.k8s.io: one byte of channel, then data) is between kubectl and the runtime.
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSMsgType, web

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


async def proxy(request: web.Request, session: aiohttp.ClientSession, url: str) -> web.StreamResponse:
    """Connect the caller with the runtime's streaming server at `url` until one of them is done."""
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    wanted = [name for name in offered if name in PROTOCOLS]
    if request.headers.get("Upgrade", "").lower() != "websocket" or not wanted:
        return web.Response(
            status=400, text=f"This kubelet streams over WebSocket only, with one of {', '.join(PROTOCOLS)}.\n"
        )
    try:
        runtime = await session.ws_connect(url, protocols=wanted, max_msg_size=0, compress=0)
    except (aiohttp.ClientError, OSError) as error:
        return web.Response(status=502, text=f"The runtime's streaming server does not answer: {error}\n")
    async with runtime:
        caller = web.WebSocketResponse(
            protocols=[runtime.protocol or wanted[0]], max_msg_size=0, compress=False, timeout=10
        )
        await caller.prepare(request)
        to_runtime = asyncio.create_task(_hand_on(caller, runtime))
        to_caller = asyncio.create_task(_hand_on(runtime, caller))
        try:
            # whoever closes ends it; the caller gets all that the runtime said before
            await asyncio.wait((to_runtime, to_caller), return_when=asyncio.FIRST_COMPLETED)
            if to_runtime.done():
                await runtime.close()
            await to_caller
        finally:
            to_runtime.cancel()
            to_caller.cancel()
            await caller.close(code=runtime.close_code or 1000)
    return caller


WebSocket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def _hand_on(source: WebSocket, target: WebSocket) -> None:
    async for message in source:
        try:
            if message.type == WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type == WSMsgType.TEXT:
                await target.send_str(message.data)
        except ConnectionError:  # the target has left
            return
