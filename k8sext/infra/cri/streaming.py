"""Exec and attach as streams: a CRI call returns a URL with a token, whoever opens it as a WebSocket gets the
program's streams.

Spoken are `v5.channel.k8s.io` and `v4.channel.k8s.io` (k8s.io/cri-streaming, KEP-4006): the first byte of each binary
message is the channel. The older SPDY is answered with an error. The server listens on loopback and starts with the
first URL, so that nodes without exec do not pay for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.stdio import CHUNK, CLOSE, EXIT, RESIZE, STDERR, STDIN, STDOUT
from k8sext.infra.cri.shimclient import Session, ShimError

if TYPE_CHECKING:
    from aiohttp import web

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
TOKEN_LIFETIME = 60.0
EXEC_SYNC_OUTPUT = 16 << 20
log = logging.getLogger(__name__)

Opener = Callable[[], Awaitable[Session]]


class Offer(NamedTuple):
    """What stands behind a token."""

    request: api.ExecRequest | api.AttachRequest
    open: Opener


class StreamingServer:
    """Serves the URLs that Exec and Attach hand out."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._starting = asyncio.Lock()

    async def offer(self, request: api.ExecRequest | api.AttachRequest, open_session: Opener) -> str:
        """Return a URL, good for one use within a minute; `open_session` is called when it is used."""
        async with self._starting:
            if self._runner is None:
                await self._start()
        token = secrets.token_urlsafe(24)
        self._offers[token] = Offer(request, open_session)
        asyncio.get_running_loop().call_later(TOKEN_LIFETIME, self._offers.pop, token, None)
        return f"{self._url}/{'attach' if isinstance(request, api.AttachRequest) else 'exec'}/{token}"

    async def close(self) -> None:
        """Stop serving; streams that are open end."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _start(self) -> None:
        from aiohttp import web  # a third of this process's memory: not before it is needed

        app = web.Application()
        app.router.add_route("*", "/{verb}/{token}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        offered = {name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
        if request.headers.get("Upgrade", "").lower() != "websocket" or not offered & set(PROTOCOLS):
            raise web.HTTPBadRequest(
                text=f"open this URL as a WebSocket of protocol {' or '.join(PROTOCOLS)}; SPDY is not served here\n"
            )
        offer = self._offers.pop(request.match_info["token"], None)
        if offer is None:
            raise web.HTTPNotFound(text="this URL was used or has expired: ask the runtime for a new one\n")
        channel = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0, timeout=5)
        await channel.prepare(request)
        try:
            await channel.send_bytes(bytes([_first_channel(offer.request)]))
            await channel.send_bytes(bytes([EXIT]) + json.dumps(await _stream(channel, offer)).encode())
            await channel.close()
        except ConnectionError:
            log.debug("the client left before the end")
        return channel


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


async def _stream(channel: web.WebSocketResponse, offer: Offer) -> dict[str, object]:
    """Carry bytes both ways until the program ends or the client leaves; return the Status to close with."""
    try:
        session = await offer.open()
    except ShimError as problem:
        return _failure("InternalError", str(problem), [])
    output = asyncio.create_task(_forward_output(channel, session, offer.request))
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
    if code == 0 or isinstance(offer.request, api.AttachRequest):
        return {"metadata": {}, "status": "Success"}
    return _failure(
        "NonZeroExitCode",
        f"command terminated with non-zero exit code: exit status {code}",
        [{"reason": "ExitCode", "message": str(code)}],
    )


async def _forward_output(
    channel: web.WebSocketResponse, session: Session, request: api.ExecRequest | api.AttachRequest
) -> int | None:
    wanted = {STDOUT: request.stdout, STDERR: request.stderr}
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


def _first_channel(request: api.ExecRequest | api.AttachRequest) -> int:
    """An empty message on the lowest channel we write to opens the conversation."""
    return STDOUT if request.stdout else STDERR if request.stderr else EXIT


def _failure(reason: str, message: str, causes: list[dict[str, str]]) -> dict[str, object]:
    return {"metadata": {}, "status": "Failure", "reason": reason, "message": message, "details": {"causes": causes}}
