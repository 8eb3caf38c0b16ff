"""The informer against a real API server, through a proxy that does to the stream what bad networks do.

Whatever happened, in the end the store equals a fresh list, and so does what the handlers were told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.informer import Informer, running, without_managed_fields
from k8sext.kube.request import ApiError, Json, Unreachable, request
from k8sext.kube.store import key_of

pytestmark = pytest.mark.cluster
PATH = "/api/v1/namespaces/default/configmaps"
SILENCE = 1.0


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
        self._server = server.server
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
        elif request.method == "GET" and request.path == PATH:
            self.lists += 1
        try:
            return await self._pass_on(request, headers, watch)
        except aiohttp.ClientError:
            return web.Response(status=502)

    async def _pass_on(self, request: web.Request, headers: dict[str, str], watch: bool) -> web.StreamResponse:
        async with self._session.request(
            request.method, self._server + request.path_qs, headers=headers, data=await request.read()
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
            except (ConnectionError, aiohttp.ClientError):
                if request.transport:
                    request.transport.abort()
            finally:
                self._open.remove(request)
            return response


def _pem(data: str) -> str:
    from base64 import b64decode

    return b64decode(data).decode()


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


@pytest.fixture(scope="module")
def server(programs: dict[str, Path]) -> Iterator[PrivateApiServer]:
    with private_api_server() as started:
        yield started


@pytest.fixture
async def proxy(server: PrivateApiServer) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(server) as started:
        yield started


@pytest.fixture
async def direct(server: PrivateApiServer) -> AsyncIterator[ApiClient]:
    client = await from_kubeconfig(server.kubeconfig)
    for item in (await request(client, "GET", PATH))["items"]:
        await request(client, "DELETE", f"{PATH}/{item['metadata']['name']}")
    yield client
    await client.close()


class Told:
    """The world as the handlers were told it."""

    def __init__(self) -> None:
        self.items: dict[str, Json] = {}
        self.changes: list[tuple[str, str]] = []

    def __call__(self, change: str, item: Json) -> None:
        key = key_of(item)
        self.changes.append((change, key))
        if change == "DELETED":
            del self.items[key]
        else:
            assert (change == "ADDED") == (key not in self.items)
            self.items[key] = item


async def change_things(client: ApiClient, rounds: range) -> None:
    """Create, change and delete, so that each kind of change is among what a fault may hide."""
    for number in rounds:
        await request(client, "POST", PATH, {"metadata": {"name": f"c-{number}"}, "data": {"n": "0"}})
        body = {"data": {"n": str(number)}}
        await request(client, "PATCH", f"{PATH}/c-{number}", body, content_type="application/merge-patch+json")
        if number % 3 == 0:
            await request(client, "DELETE", f"{PATH}/c-{number}")


async def until(condition: Callable[[], Any], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)


async def until_equal(client: ApiClient, informer: Informer, told: Told) -> None:
    answer = await request(client, "GET", PATH)
    versions = {key_of(item): item["metadata"]["resourceVersion"] for item in answer["items"]}

    def same(items: list[Json]) -> bool:
        return {key_of(item): item["metadata"]["resourceVersion"] for item in items} == versions

    await until(lambda: same(informer.store.list()) and same(list(told.items.values())))


def informer_for(client: ApiClient) -> tuple[Informer, Told]:
    informer = Informer(client, PATH, transform=without_managed_fields, inactivity_timeout=SILENCE)
    told = Told()
    informer.on_change(told)
    return informer, told


@pytest.mark.parametrize("fault", [stalled, swallowed, cut_in_the_middle, slow, corrupted, doubled])
async def test_after_any_fault_of_the_stream_the_store_equals_a_fresh_list(
    fault: Any, proxy: FaultyProxy, direct: ApiClient
) -> None:
    informer, told = informer_for(proxy.client)
    async with running(informer):
        await change_things(direct, range(4))
        await until_equal(direct, informer, told)
        proxy.fault = fault
        await change_things(direct, range(4, 8))
        watches = len(proxy.watches)
        if fault not in (slow, doubled):
            await until(lambda: len(proxy.watches) > watches)
        proxy.fault = passed
        await until_equal(direct, informer, told)
    assert all("managedFields" not in item["metadata"] for item in informer.store.list())


async def test_a_server_that_ends_every_watch_at_once_is_not_hammered(proxy: FaultyProxy, direct: ApiClient) -> None:
    async def ended(request: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
        raise ConnectionError

    informer, told = informer_for(proxy.client)
    proxy.fault = ended
    async with running(informer):
        await change_things(direct, range(3))
        await until(lambda: len(proxy.watches) >= 3)
        assert len(proxy.watches) < 50
        proxy.fault = passed
        await until_equal(direct, informer, told)


async def test_an_object_that_is_deleted_and_made_again_while_nobody_looks_is_told_as_such(
    proxy: FaultyProxy, direct: ApiClient
) -> None:
    informer, told = informer_for(proxy.client)
    await change_things(direct, range(1, 2))
    async with running(informer):
        proxy.fault = stalled
        await change_things(direct, range(100, 101))  # the proxy stalls on this one
        await request(direct, "DELETE", f"{PATH}/c-1")
        await change_things(direct, range(1, 2))
        proxy.fault = passed
        await until_equal(direct, informer, told)
    key = "default/c-1"
    assert [change for change, name in told.changes if name == key][:3] == ["ADDED", "DELETED", "ADDED"]


async def test_an_expired_resource_version_leads_to_a_fresh_list(
    server: PrivateApiServer, proxy: FaultyProxy, direct: ApiClient
) -> None:
    informer, told = informer_for(proxy.client)
    async with running(informer):
        await change_things(direct, range(4))
        await until_equal(direct, informer, told)
        lists = proxy.lists
        proxy.fault = stalled
        await change_things(direct, range(4, 8))
        await compact(server)
        with restarted_api_server(server):  # a fresh server has no memory of its own beyond what etcd kept
            await until_well(direct)
            proxy.cut_all()
            proxy.fault = passed
            await until_equal(direct, informer, told)
            assert proxy.lists > lists, "the version was not expired, so this test proves nothing"


async def test_a_restart_of_the_api_server_is_lived_through(server: PrivateApiServer, direct: ApiClient) -> None:
    informer, told = informer_for(direct)
    async with running(informer):
        await change_things(direct, range(4))
        await until_equal(direct, informer, told)
        with restarted_api_server(server):
            await until_well(direct)
            await change_things(direct, range(4, 8))
            await until_equal(direct, informer, told)


async def test_a_handler_that_fails_does_not_stop_the_others(server: PrivateApiServer, direct: ApiClient) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    informer = Informer(direct, PATH)
    informer.on_change(fails)
    told = Told()
    informer.on_change(told)
    async with running(informer):
        await change_things(direct, range(2))
        await until_equal(direct, informer, told)


async def compact(server: PrivateApiServer) -> None:
    """Let etcd forget every version but the present one, through its JSON gateway."""
    pki = server.folder / "pki"
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "etcd.crt", pki / "etcd.key")
    command = _process(server, "etcd").cmdline()
    url = next(word.partition("=")[2] for word in command if word.startswith("--listen-client-urls"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        async with session.post(f"{url}/v3/kv/range", json={"key": b64encode(b"x").decode()}) as answer:
            revision = (await answer.json())["header"]["revision"]
        async with session.post(f"{url}/v3/kv/compaction", json={"revision": revision, "physical": True}) as answer:
            assert answer.status == 200, await answer.text()


class restarted_api_server:
    """Kill the API server and start it again with the same command line; it is the module's server from then on."""

    def __init__(self, server: PrivateApiServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        old = _process(self._server, "kube-apiserver")
        command, cwd = old.cmdline(), old.cwd()
        old.kill()
        old.wait(10)
        with (self._server.folder / "kube-apiserver-again.log").open("w") as log:
            self._process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, start_new_session=True)
        _restarted.append(self._process)

    def __exit__(self, *_: object) -> None:
        """It goes on running: the fixture below ends it with the module."""


_restarted: list[subprocess.Popen[bytes]] = []


@pytest.fixture(scope="module", autouse=True)
def _end_restarted() -> Iterator[None]:
    yield
    for process in _restarted:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _process(server: PrivateApiServer, name: str) -> psutil.Process:
    found = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == name[:15]
        and process.status() != psutil.STATUS_ZOMBIE
        and str(server.folder) in str(process.cmdline())
    ]
    assert len(found) == 1, found
    return found[0]


async def until_well(client: ApiClient) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            await request(client, "GET", PATH, timeout=2)
            return
        except (ApiError, Unreachable):
            await asyncio.sleep(0.1)
    pytest.fail("the API server did not come back")
