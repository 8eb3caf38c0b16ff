"""Exec, attach and port-forward: the API server's connection on one side, the runtime's on the other, and all handed on
as it is.

What the messages of a WebSocket mean (v5.channel.k8s.io: one byte of channel, then data) is between kubectl and the
runtime, and so is SPDY. Only where kubectl wraps SPDY into a WebSocket, the kubelet takes it out, since runtimes speak
SPDY alone (KEP-4006).
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSMsgType, web

from k8sext.infra import upgrade
from k8sext.infra.connect_proxy import Connection
from k8sext.infra.upgrade import COMMAND_CHANNELS, PORT_FORWARD, SPDY, SUBPROTOCOL, TUNNEL, VERSION


async def proxy(request: web.Request, session: aiohttp.ClientSession, url: str) -> web.StreamResponse:
    """Connect the caller with the runtime's streaming server at `url` until one of them is done."""
    try:
        if upgrade.wanted(request) == SPDY.lower():
            versions = [(VERSION, value) for value in request.headers.getall(VERSION, [])]
            async with upgrade.connect(url, SPDY, versions) as (far, answer):
                agreed = {VERSION: answer[VERSION.lower()]} if VERSION.lower() in answer else {}
                async with upgrade.accept(request, SPDY, agreed) as near:
                    await upgrade.join(near, far)
            return web.Response()
        if TUNNEL in upgrade.offered(request, SUBPROTOCOL):
            async with upgrade.connect(url, SPDY, [(VERSION, PORT_FORWARD)]) as (far, _):
                return await _untunnel(request, far)
    except upgrade.UpgradeRefused as error:
        return web.Response(status=403, text=f"{error}\n")
    except OSError as error:
        return web.Response(status=502, text=f"The runtime's streaming server does not answer: {error}\n")
    return await _proxy(request, session, url)


async def _untunnel(request: web.Request, far: Connection) -> web.StreamResponse:
    caller = web.WebSocketResponse(protocols=[TUNNEL], max_msg_size=0, compress=False, timeout=10)
    await caller.prepare(request)
    reader, writer = far

    async def to_caller() -> None:
        while chunk := await reader.read(upgrade.LIMIT):
            await caller.send_bytes(chunk)

    async def to_runtime() -> None:
        async for message in caller:
            if message.type == WSMsgType.BINARY:
                writer.write(message.data)
                await writer.drain()

    tasks = [asyncio.create_task(to_caller()), asyncio.create_task(to_runtime())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await caller.close()
    return caller


async def _proxy(request: web.Request, session: aiohttp.ClientSession, url: str) -> web.StreamResponse:
    offered = upgrade.offered(request, SUBPROTOCOL)
    wanted = [name for name in offered if name in COMMAND_CHANNELS]
    if upgrade.wanted(request) != "websocket" or (offered and not wanted):
        return web.Response(
            status=400, text=f"This kubelet streams over {SPDY}, or a WebSocket of {', '.join(COMMAND_CHANNELS)}.\n"
        )
    try:
        runtime = await session.ws_connect(url, protocols=wanted, max_msg_size=0, compress=0)
    except (aiohttp.ClientError, OSError) as error:
        return web.Response(status=502, text=f"The runtime's streaming server does not answer: {error}\n")
    async with runtime:
        caller = web.WebSocketResponse(
            protocols=[runtime.protocol] if runtime.protocol else (), max_msg_size=0, compress=False, timeout=10
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
