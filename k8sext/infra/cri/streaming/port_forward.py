"""Port-forward: each connection that somebody makes to the port of a learner's machine goes to a port of a pod.

Over SPDY (`portforward.k8s.io`) each is a pair of streams with the same request id: `data` carries the bytes, `error`
the reason why there are none. Over a WebSocket (`v4.channel.k8s.io` and its relatives) there is one connection for each
port that the URL names: channel 2n carries the bytes, channel 2n+1 the reason, and both begin with the port.
Source: k8s.io/cri-streaming/pkg/streaming/portforward.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from k8sext.infra import upgrade
from k8sext.infra.connect_proxy import Connection
from k8sext.infra.cri.streaming import spdy
from k8sext.infra.cri.streaming.channels import WebSocketChannels
from k8sext.infra.upgrade import CHANNELS, PORT_FORWARD, SPDY, TUNNEL

if TYPE_CHECKING:
    from aiohttp import web

PAIR_SECONDS = 30.0
BLOCK = 1 << 15
log = logging.getLogger(__name__)

Dial = Callable[[int], Awaitable[Connection]]
"""Makes a connection to a port of the pod. Raises OSError with a reason."""
Dialer = Callable[[], AbstractAsyncContextManager[Dial]]


async def serve(request: web.Request, pod: str, ports: Sequence[int], dialer: Dialer) -> web.StreamResponse:
    """Forward to a pod until the caller leaves. `pod` is its sandbox's id; `ports` count for WebSockets alone."""
    from aiohttp import web

    wanted = upgrade.wanted(request)
    if wanted == SPDY.lower():
        offered = upgrade.offered(request, upgrade.VERSION) or [PORT_FORWARD]
        if PORT_FORWARD not in offered:
            raise web.HTTPForbidden(
                text=f"unable to negotiate protocol: client supports {offered}, server {PORT_FORWARD}\n"
            )
        agreed = {upgrade.VERSION: PORT_FORWARD}
        async with dialer() as dial, upgrade.accept(request, SPDY, agreed) as (reader, writer):
            await forward_streams(spdy.Connection(reader, writer), pod, dial)
        return web.Response()
    if wanted == "websocket":
        channel = web.WebSocketResponse(protocols=(TUNNEL, *CHANNELS), max_msg_size=0, timeout=5)
        await channel.prepare(request)
        async with dialer() as dial:
            if channel.ws_protocol == TUNNEL:
                await _forward_tunnel(channel, pod, dial)
            else:
                await forward_channels(channel, pod, ports, dial)
        return channel
    raise web.HTTPBadRequest(
        text=f"ports are forwarded over {SPDY} or a WebSocket: ask for an upgrade to one of them\n"
    )


# ---- SPDY ----


async def forward_streams(connection: spdy.Connection, pod: str, dial: Dial) -> None:
    """Forward each pair of streams that the client opens, until it leaves."""
    waiting: dict[str, tuple[spdy.Stream, asyncio.Task[None]]] = {}
    async with asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[None]] = set()

        def start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
            task = group.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return task

        async def give_up(request_id: str) -> None:
            """The other stream of a pair never came."""
            await asyncio.sleep(PAIR_SECONDS)
            stream, _ = waiting.pop(request_id)
            with contextlib.suppress(OSError):
                await stream.reset()

        try:
            async for stream in connection.streams():
                try:
                    port, request_id = _port(stream), _request_id(stream)
                except ValueError as problem:
                    log.debug("%s", problem)
                    await stream.reset()
                    continue
                if request_id not in waiting:
                    waiting[request_id] = stream, start(give_up(request_id))
                    continue
                if _kind(waiting[request_id][0]) == _kind(stream):
                    log.debug("%s stream of request %s already assigned", _kind(stream), request_id)
                    await stream.reset()
                    continue
                other, patience = waiting.pop(request_id)
                patience.cancel()
                data, error = (stream, other) if _kind(stream) == "data" else (other, stream)
                start(_forward_pair(data, error, port, pod, dial))
        except spdy.ProtocolError as problem:
            log.warning("port-forward to %s: %s", pod, problem)
        finally:
            for task in tasks:
                task.cancel()


async def _forward_tunnel(channel: web.WebSocketResponse, pod: str, dial: Dial) -> None:
    reader = asyncio.StreamReader()

    async def receive() -> None:
        async for message in channel:
            if isinstance(message.data, bytes):
                reader.feed_data(message.data)
        reader.feed_eof()

    receiving = asyncio.create_task(receive())
    try:
        await forward_streams(spdy.Connection(reader, _Messages(channel)), pod, dial)
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await channel.close()


class _Messages:
    """What is written to a WebSocket as a stream of bytes."""

    def __init__(self, channel: web.WebSocketResponse) -> None:
        self._channel, self._waiting = channel, bytearray()

    def is_closing(self) -> bool:
        return self._channel.closed

    def write(self, data: bytes) -> None:
        self._waiting += data

    async def drain(self) -> None:
        waiting, self._waiting = bytes(self._waiting), bytearray()
        if waiting:
            await self._channel.send_bytes(waiting)


def _kind(stream: spdy.Stream) -> str:
    return stream.headers.get("streamtype", "")


def _port(stream: spdy.Stream) -> int:
    if _kind(stream) not in ("data", "error"):
        raise ValueError(f'invalid stream type "{_kind(stream)}"')
    text = stream.headers.get("port", "")
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise ValueError(f'unable to parse "{text}" as a port')
    return int(text)


def _request_id(stream: spdy.Stream) -> str:
    """What a pair has in common. Old clients do not say; they open the error stream, and the data stream next."""
    first = stream.number if _kind(stream) == "error" else stream.number - 2
    return stream.headers.get("requestid") or f"stream {first}"


async def _forward_pair(data: spdy.Stream, error: spdy.Stream, port: int, pod: str, dial: Dial) -> None:
    with contextlib.suppress(OSError):  # the client left
        try:
            reader, writer = await dial(port)
        except OSError as problem:
            await error.write(_why(port, pod, problem).encode())
            await error.close()
            await data.reset()
            return
        with contextlib.closing(writer):
            directions = [asyncio.create_task(_to_pod(data, writer)), asyncio.create_task(_to_client(reader, data))]
            try:
                await asyncio.gather(*directions)
                await error.close()
            except OSError as problem:
                log.debug("port %d of %s: %s", port, pod, problem)
                await data.reset()
                await error.reset()
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
                data.forget()
                error.forget()


async def _to_pod(data: spdy.Stream, writer: asyncio.StreamWriter) -> None:
    while chunk := await data.read():
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _to_client(reader: asyncio.StreamReader, data: spdy.Stream) -> None:
    while chunk := await reader.read(BLOCK):
        await data.write(chunk)
    await data.close()


def _why(port: int, pod: str, problem: OSError) -> str:
    reason = os.strerror(problem.errno) if problem.errno else str(problem)  # without this machine's own addresses
    return f"error forwarding port {port} to pod {pod}, uid : {reason}"


# ---- WebSocket ----


async def forward_channels(channel: web.WebSocketResponse, pod: str, ports: Sequence[int], dial: Dial) -> None:
    """Forward one connection to each port, until all have ended or the client leaves."""
    channels = WebSocketChannels(channel)
    queues = [asyncio.Queue[bytes](spdy.CHUNKS_WAITING) for _ in ports]
    receiving = asyncio.create_task(_receive(channels, queues))
    forwarding = asyncio.gather(
        *(_forward_channel(at, port, queues[at], pod, dial, channels) for at, port in enumerate(ports))
    )
    try:
        await asyncio.wait([forwarding, receiving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        forwarding.cancel()
        receiving.cancel()
        await asyncio.gather(forwarding, receiving, return_exceptions=True)
        await channel.close()


async def _receive(channels: WebSocketChannels, queues: Sequence[asyncio.Queue[bytes]]) -> None:
    async for number, data in channels.receive():
        if number % 2 == 0 and number // 2 < len(queues):
            await queues[number // 2].put(data)


async def _forward_channel(
    at: int, port: int, queue: asyncio.Queue[bytes], pod: str, dial: Dial, channels: WebSocketChannels
) -> None:
    for number in (2 * at, 2 * at + 1):
        await channels.send(number, struct.pack("<H", port))
    try:
        reader, writer = await dial(port)
    except OSError as problem:
        await channels.send(2 * at + 1, _why(port, pod, problem).encode())
        return

    async def to_pod() -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(await queue.get())
                await writer.drain()

    with contextlib.closing(writer), contextlib.suppress(OSError):
        sending = asyncio.create_task(to_pod())
        try:
            while chunk := await reader.read(BLOCK):
                await channels.send(2 * at, chunk)
        finally:
            sending.cancel()
