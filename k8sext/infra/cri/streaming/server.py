"""The streaming server of a runtime: it serves the URLs that Exec, Attach and PortForward hand out.

It listens on loopback and starts with the first URL, so that nodes that stream nothing do not pay for it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.streaming import commands, port_forward

if TYPE_CHECKING:
    from aiohttp import web

TOKEN_LIFETIME = 60.0

Serve = Callable[["web.Request"], Awaitable["web.StreamResponse"]]


class StreamingServer:
    """Serves URLs, each good for one use within a minute."""

    def __init__(self) -> None:
        self._offers: dict[str, Serve] = {}
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._starting = asyncio.Lock()

    async def offer_command(self, command: commands.Command, open_session: commands.Opener) -> str:
        """Return the URL of a program's streams; `open_session` is called when it is used."""
        verb = "attach" if isinstance(command, api.AttachRequest) else "exec"
        return await self._offer(verb, partial(commands.serve, command=command, open_session=open_session))

    async def offer_ports(self, pod: str, ports: Sequence[int], dialer: port_forward.Dialer) -> str:
        """Return the URL at which connections to ports of a pod can be had; what `dialer` gives makes them."""
        return await self._offer("portforward", partial(port_forward.serve, pod=pod, ports=ports, dialer=dialer))

    async def close(self) -> None:
        """Stop serving; streams that are open end."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _offer(self, verb: str, serve: Serve) -> str:
        async with self._starting:
            if self._runner is None:
                await self._start()
        token = secrets.token_urlsafe(24)
        self._offers[token] = serve
        asyncio.get_running_loop().call_later(TOKEN_LIFETIME, self._offers.pop, token, None)
        return f"{self._url}/{verb}/{token}"

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

        serve = self._offers.pop(request.match_info["token"], None)
        if serve is None:
            raise web.HTTPNotFound(text="this URL was used or has expired: ask the runtime for a new one\n")
        return await serve(request)
