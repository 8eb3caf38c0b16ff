"""What probes and hooks ask, asked of real servers: HTTP, gRPC, and nobody."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

from k8sext.infra.kubelet.pod.dial import Dialer, PodConnector
from k8sext.infra.kubelet.pod.hooks import Handlers, Outcome
from k8sext.infra.kubelet.runtime.client import RuntimeClient
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import container
from tests.infra.kubelet.fakes import FakeRuntime, serve_runtime

HERE = "127.0.0.1"


class Health(health_pb2_grpc.HealthServicer):
    """Answers what the test says of each service."""

    def __init__(self) -> None:
        self.services = {"": "SERVING"}

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        if request.service not in self.services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=self.services[request.service])


class Asked:
    """The handlers of a node, asked for a container of a pod at this machine's own address."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    async def __call__(self, handler: Json, timeout: float = 5) -> Outcome:
        return await self._handlers.run(handler, container("main"), "run-0", HERE, timeout)


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Asked]:
    dialer = Dialer("127.244", tmp_path / "pods.sock")
    async with (
        serve_runtime(tmp_path, FakeRuntime()) as address,
        aiohttp.ClientSession(connector=PodConnector(dialer)) as session,
    ):
        runtime = RuntimeClient(address)
        yield Asked(Handlers(runtime, session, dialer))
        await runtime.close()


@pytest.fixture
async def web_server() -> AsyncIterator[int]:
    """Redirects, echoes headers, and is ill at /ill; the port."""

    async def answer(request: web.Request) -> web.Response:
        match request.path:
            case "/ill":
                return web.Response(status=500)
            case "/to-ill" | "/round":
                raise web.HTTPFound("/ill" if request.path == "/to-ill" else "/to-round")
            case "/to-round":
                raise web.HTTPFound("/round")
            case "/elsewhere":
                raise web.HTTPFound("http://other.example/ill")
        return web.Response(text=repr(request.headers.getall("X-Test", [])) + request.headers["User-Agent"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HERE, 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def grpc_server() -> AsyncIterator[tuple[int, Health]]:
    """A server with the health service; its port and what it answers."""
    server, servicer = grpc.aio.server(), Health()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HERE}:0")
    await server.start()
    yield port, servicer
    await server.stop(0)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", (True, "[]kube-probe/1.37")),
        ("/ill", (False, "HTTP probe failed with statuscode: 500")),
        ("/to-ill", (False, "HTTP probe failed with statuscode: 500")),
    ],
)
async def test_a_redirect_on_the_same_host_is_followed(
    ask: Asked, web_server: int, path: str, expected: Outcome
) -> None:
    assert await ask({"httpGet": {"path": path, "port": web_server}}) == expected


async def test_a_redirect_to_another_host_is_an_answer_and_one_in_circles_is_none(ask: Asked, web_server: int) -> None:
    assert (await ask({"httpGet": {"path": "/elsewhere", "port": web_server}}))[0] is True
    well, said = await ask({"httpGet": {"path": "/round", "port": web_server}})
    assert well is False
    assert said.endswith("stopped after 10 redirects")


async def test_a_header_may_be_given_twice_and_take_the_place_of_our_own(ask: Asked, web_server: int) -> None:
    headers = [
        {"name": name, "value": value} for name, value in [("X-Test", "a"), ("x-test", "b"), ("user-agent", "me")]
    ]
    assert await ask({"httpGet": {"port": web_server, "httpHeaders": headers}}) == (True, "['a', 'b']me")


async def test_a_grpc_server_is_asked_by_the_health_protocol(ask: Asked, grpc_server: tuple[int, Health]) -> None:
    port, servicer = grpc_server
    assert await ask({"grpc": {"port": port}}) == (True, "service healthy")
    assert await ask({"grpc": {"port": port, "service": ""}}) == (True, "service healthy")
    servicer.services["shop"] = "NOT_SERVING"
    probe = {"grpc": {"port": port, "service": "shop"}}
    assert await ask(probe) == (False, 'service unhealthy (responded with "NOT_SERVING")')
    servicer.services["shop"] = "SERVING"
    assert await ask(probe) == (True, "service healthy")
    well, said = await ask({"grpc": {"port": port, "service": "nobody"}})
    assert (well, "NOT_FOUND" in said) == (False, True)


async def test_what_speaks_no_grpc_and_who_does_not_listen_are_told_apart(
    ask: Asked, web_server: int, free_port: int
) -> None:
    well, said = await ask({"grpc": {"port": web_server}}, timeout=1)
    assert (well, said.startswith(("error: health rpc probe failed", "timeout: health rpc"))) == (False, True)
    refused = f"dial tcp {HERE}:{free_port}: Connection refused"
    assert await ask({"grpc": {"port": free_port}}) == (False, refused)
    assert await ask({"tcpSocket": {"port": free_port}}) == (False, refused)


async def test_a_server_without_the_health_service_is_told_so(ask: Asked) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port(f"{HERE}:0")
    await server.start()
    well, said = await ask({"grpc": {"port": port}})
    await server.stop(0)
    assert (well, "does not implement the grpc health protocol" in said) == (False, True)


@pytest.mark.parametrize("handler", [{"telepathy": {}}, {"tcpSocket": {"port": "web"}}, {"httpGet": {"port": "web"}}])
async def test_what_nobody_could_be_asked_is_not_known(ask: Asked, handler: Json) -> None:
    assert (await ask(handler))[0] is None
