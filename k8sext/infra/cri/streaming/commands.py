"""Exec and attach: a program's streams, over a WebSocket or SPDY (`channels`).

The client and we agree on a version of the protocol: v5 can say that stdin has ended (KEP-4006), v4 tells the exit
code as a Status, and those before only that something went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from k8sext.infra import upgrade
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.stdio import CHUNK, CLOSE, EXIT, RESIZE, STDERR, STDIN, STDOUT
from k8sext.infra.cri.shimclient import Session, ShimError
from k8sext.infra.cri.streaming import spdy
from k8sext.infra.cri.streaming.channels import SPDY, Channels, SpdyChannels, WebSocketChannels

if TYPE_CHECKING:
    from aiohttp import web

EXEC_SYNC_OUTPUT = 16 << 20
log = logging.getLogger(__name__)

Opener = Callable[[], Awaitable[Session]]


async def run_to_end(session: Session) -> tuple[bytes, bytes, int]:
    """Return what a command prints until it ends (16 MiB each of stdout and stderr) and its exit code; raise ShimError
    when it is lost."""
    printed = {STDOUT: bytearray(), STDERR: bytearray()}
    while (packet := await session.receive()) is not None:
        channel, data = packet
        if channel == EXIT:
            return bytes(printed[STDOUT]), bytes(printed[STDERR]), json.loads(data)["code"]
        printed[channel] += data[: EXEC_SYNC_OUTPUT - len(printed[channel])]
    raise ShimError("the command was lost with the supervisor of this node's containers")


Command = api.ExecRequest | api.AttachRequest


async def serve(request: web.Request, command: Command, open_session: Opener) -> web.StreamResponse:
    """Give the caller the streams of a program, until it ends or the caller leaves."""
    from aiohttp import web

    if upgrade.wanted(request) == upgrade.SPDY.lower():
        return await _serve_spdy(request, command, open_session)
    offered, known = upgrade.offered(request, upgrade.SUBPROTOCOL), upgrade.COMMAND_CHANNELS
    if upgrade.wanted(request) != "websocket" or (offered and not set(offered) & set(known)):
        raise web.HTTPBadRequest(text=f"open this URL by {upgrade.SPDY}, or as a WebSocket of {' or '.join(known)}\n")
    socket = web.WebSocketResponse(protocols=known, max_msg_size=0, timeout=5)
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client left before the end
        channels = WebSocketChannels(socket)
        await channels.send(_first_channel(command), b"")
        await _serve(channels, command, open_session)
        await socket.close()
    return socket


async def _serve_spdy(request: web.Request, command: Command, open_session: Opener) -> web.StreamResponse:
    from aiohttp import web

    offered = upgrade.offered(request, upgrade.VERSION) or ["channel.k8s.io"]
    agreed = next((name for name in SPDY if name in offered), None)
    if agreed is None:
        raise web.HTTPForbidden(text=f"unable to negotiate protocol: client supports {offered}, server {list(SPDY)}\n")
    wanted = _channels_of(command)
    async with upgrade.accept(request, upgrade.SPDY, {upgrade.VERSION: agreed}) as (reader, writer):
        channels = SpdyChannels(agreed)
        try:
            async with channels.opened(spdy.Connection(reader, writer), wanted):
                await _serve(channels, command, open_session)
        except* (OSError, TimeoutError) as problems:
            log.debug("the client left before the end: %s", problems.exceptions[0])
    return web.Response()


def _channels_of(command: Command) -> set[int]:
    """What a client of SPDY opens for a command; the size of a terminal may come later, or never."""
    asked = {STDIN: command.stdin, STDOUT: command.stdout, STDERR: command.stderr}
    return {EXIT} | {channel for channel, wanted in asked.items() if wanted}


async def _serve(channels: Channels, command: Command, open_session: Opener) -> None:
    status = await _stream(channels, command, open_session)
    if channels.protocol.startswith(("v4.", "v5.")):
        await channels.send(EXIT, json.dumps(status).encode())
    elif status["status"] != "Success":
        await channels.send(EXIT, str(status["message"]).encode())


async def _stream(channels: Channels, command: Command, open_session: Opener) -> dict[str, object]:
    """Carry bytes both ways until the program ends or the client leaves; return the Status to close with."""
    try:
        session = await open_session()
    except ShimError as problem:
        return _failure("InternalError", str(problem), [])
    output = asyncio.create_task(_forward_output(channels, session, command))
    incoming = asyncio.create_task(_forward_input(channels, session))
    try:
        await asyncio.wait([output, incoming], return_when=asyncio.FIRST_COMPLETED)
        code = output.result() if output.done() else None
    except OSError as problem:
        log.debug("the client left: %s", problem)
        code = None
    finally:
        output.cancel()
        incoming.cancel()
        await asyncio.gather(output, incoming, return_exceptions=True)
        session.close()
    if code is None:
        return _failure("InternalError", "the stream ended before the program", [])
    if code == 0 or isinstance(command, api.AttachRequest):
        return {"metadata": {}, "status": "Success"}
    return _failure(
        "NonZeroExitCode",
        f"command terminated with non-zero exit code: exit status {code}",
        [{"reason": "ExitCode", "message": str(code)}],
    )


async def _forward_output(channels: Channels, session: Session, command: Command) -> int | None:
    wanted = {STDOUT: command.stdout, STDERR: command.stderr}
    while (packet := await session.receive()) is not None:
        number, data = packet
        if number == EXIT:
            return json.loads(data)["code"]
        if wanted[number]:
            await channels.send(number, data)
    return None


async def _forward_input(channels: Channels, session: Session) -> None:
    async for channel, data in channels.receive():
        if channel == STDIN:
            for at in range(0, len(data), CHUNK):
                await session.send(STDIN, data[at : at + CHUNK])
        elif channel == RESIZE and _is_size(data):
            await session.send(RESIZE, data)
        elif channel == CLOSE:
            await session.send(CLOSE)


def _is_size(data: bytes) -> bool:
    try:
        size = json.loads(data)
        return 0 <= int(size["Width"]) < 1 << 16 and 0 <= int(size["Height"]) < 1 << 16
    except (ValueError, TypeError, KeyError):
        return False


def _first_channel(command: Command) -> int:
    """An empty message on the lowest channel we write to opens the conversation."""
    return STDOUT if command.stdout else STDERR if command.stderr else EXIT


def _failure(reason: str, message: str, causes: list[dict[str, str]]) -> dict[str, object]:
    return {"metadata": {}, "status": "Failure", "reason": reason, "message": message, "details": {"causes": causes}}
