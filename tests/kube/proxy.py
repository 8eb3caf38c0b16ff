"""A proxy between client and API server that does to watch streams what bad networks do."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from k8sext.cluster import PrivateApiServer


class FaultyProxy:
    """Passes requests to an API server, and watch streams through `fault`."""

    def __init__(self, server: PrivateApiServer) -> None:
        config = yaml.safe_load(server.kubeconfig.read_text())
        self._tls = ssl.create_default_context(
            cadata=_pem(config["clusters"][0]["cluster"]["certificate-authority-data"])
        )
        for name in ("client-certificate", "client-key"):
            (server.folder / f"proxy-{name}").write_text(_pem(config["users"][0]["user"][f"{name}-data"]))
        self._tls.load_cert_chain(server.folder / "proxy-client-certificate", server.folder / "proxy-client-key")
        self.server = server.server
        self.fault: Callable[[web.Request, web.StreamResponse, bytes], Any] = passed
        self.watches: list[str] = []
        self.lists = 0
        self._open: list[web.Request] = []

    async def __aenter__(self) -> FaultyProxy:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls), auto_decompress=False)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.client = ApiClient(configuration)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self._runner.cleanup()
        await self._session.close()

    def cut_all(self) -> None:
        for watch in self._open:
            if watch.transport:
                watch.transport.abort()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        watch = "watch" in request.query
        if watch:
            self.watches.append(request.query["resourceVersion"])
        elif request.method == "GET":
            self.lists += 1
        try:
            return await self._pass_on(request, headers, watch)
        except aiohttp.ClientError:
            return web.Response(status=502)

    async def _pass_on(self, request: web.Request, headers: dict[str, str], watch: bool) -> web.StreamResponse:
        async with self._session.request(
            request.method, self.server + request.path_qs, headers=headers, data=await request.read()
        ) as answer:
            if not watch or answer.status >= 300:
                return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            self._open.append(request)
            try:
                async for chunk in answer.content.iter_any():
                    await self.fault(request, response, chunk)
            except Ended:
                pass
            except (ConnectionError, aiohttp.ClientError):
                if request.transport:
                    request.transport.abort()
            finally:
                self._open.remove(request)
            return response


def _pem(data: str) -> str:
    return b64decode(data).decode()


class Ended(Exception):
    """The proxy ends its answer in good order."""


async def ended(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    raise Ended


async def aborted(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    raise ConnectionError


async def passed(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    await response.write(chunk)


async def stalled(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    await asyncio.Event().wait()


async def swallowed(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    """Nothing comes through, but the connection lives."""


async def cut_in_the_middle(request: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    await response.write(chunk[: len(chunk) // 2])
    assert request.transport
    request.transport.abort()
    raise ConnectionError


async def slow(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    for start in range(0, len(chunk), 40):
        await response.write(chunk[start : start + 40])
        await asyncio.sleep(0.002)


async def corrupted(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    await response.write(chunk.replace(b'"metadata"', b'"met\xffadata', 1))


async def doubled(_: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    """Some proxies repeat what they sent when they reconnect."""
    await response.write(chunk + chunk if chunk.endswith(b"\n") else chunk)
