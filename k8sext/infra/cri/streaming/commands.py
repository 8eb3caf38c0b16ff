"""Exec and attach: a program's streams over a WebSocket.

Spoken are `v5.channel.k8s.io` and `v4.channel.k8s.io` (k8s.io/cri-streaming, KEP-4006): the first byte of each binary
message is the channel. The older SPDY is answered with an error.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.stdio import CHUNK, CLOSE, EXIT, RESIZE, STDERR, STDIN, STDOUT
from k8sext.infra.cri.shimclient import Session, ShimError

if TYPE_CHECKING:
    from aiohttp import web

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
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

    offered = {name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
    if request.headers.get("Upgrade", "").lower() != "websocket" or not offered & set(PROTOCOLS):
        raise web.HTTPBadRequest(
            text=f"open this URL as a WebSocket of protocol {' or '.join(PROTOCOLS)}; SPDY is not served here\n"
        )
    channel = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0, timeout=5)
    await channel.prepare(request)
    try:
        await channel.send_bytes(bytes([_first_channel(command)]))
        await channel.send_bytes(bytes([EXIT]) + json.dumps(await _stream(channel, command, open_session)).encode())
        await channel.close()
    except ConnectionError:
        log.debug("the client left before the end")
    return channel


async def _stream(channel: web.WebSocketResponse, command: Command, open_session: Opener) -> dict[str, object]:
    """Carry bytes both ways until the program ends or the client leaves; return the Status to close with."""
    try:
        session = await open_session()
    except ShimError as problem:
        return _failure("InternalError", str(problem), [])
    output = asyncio.create_task(_forward_output(channel, session, command))
    incoming = asyncio.create_task(_forward_input(channel, session))
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


async def _forward_output(channel: web.WebSocketResponse, session: Session, command: Command) -> int | None:
    wanted = {STDOUT: command.stdout, STDERR: command.stderr}
    while (packet := await session.receive()) is not None:
        number, data = packet
        if number == EXIT:
            return json.loads(data)["code"]
        if wanted[number]:
            await channel.send_bytes(bytes([number]) + data)
    return None


async def _forward_input(channel: web.WebSocketResponse, session: Session) -> None:
    async for message in channel:
        data = message.data if isinstance(message.data, bytes) else str(message.data).encode()
        if not data:
            continue
        if data[0] == STDIN:
            for at in range(1, len(data), CHUNK):
                await session.send(STDIN, data[at : at + CHUNK])
        elif data[0] == RESIZE and _is_size(data[1:]):
            await session.send(RESIZE, data[1:])
        elif data[:2] == bytes([CLOSE, STDIN]):
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
