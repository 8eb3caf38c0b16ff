"""The proxy before a false API server: what it passes on, what it refuses, and that nothing piles up in it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from k8sext.admission.initializers.proxy import Proxy
from k8sext.admission.tls import server_context
from k8sext.kube import certificates as x509
from k8sext.kube.objects import Json
from tests.admission.initializers.objects import FAILURE, pod
from tests.support.eventually import eventually_async

TOKEN = {"Authorization": "Bearer anna"}
PODS = "/api/v1/namespaces/lesson/pods"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def proxied(handler: Handler, longest_wait: float = 30.0) -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose server is a proxy before this handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as upstream:
        authority = x509.authority()
        proxy = Proxy(str(upstream.make_url("")), ssl.create_default_context(), longest_wait)
        port = await proxy.start(server_context(x509.issue(authority, "proxy", hosts=["127.0.0.1"])))
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority.certificate))
        try:
            async with aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector, headers=TOKEN) as client:
                yield client
        finally:
            await proxy.stop()


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {"method": request.method, "query": request.rel_url.raw_query_string, "body": await request.text()}
        | {"headers": dict(request.headers)}
    )


async def test_a_request_passes_with_its_own_credentials_and_no_others():
    async with proxied(echo) as client:
        headers = {"Impersonate-User": "otto", "Accept": "application/yaml", "Accept-Encoding": "identity"}
        async with client.put("/api/v1/nodes/n/status?x=a%26b", data="text", headers=headers) as answer:
            seen = await answer.json()
    assert (seen["method"], seen["query"], seen["body"]) == ("PUT", "x=a%26b", "text")
    assert seen["headers"]["Authorization"] == "Bearer anna"
    assert {key: seen["headers"][key] for key in headers} == headers


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Basic YTpi"}])
async def test_without_a_token_a_request_is_refused_in_a_sentence(headers: dict[str, str]):
    async with proxied(echo) as client, client.get(PODS, headers=headers) as answer:
        assert answer.status == 403
        assert "passes on bearer tokens only, not client certificates" in await answer.text()


async def test_exec_is_refused_in_a_sentence():
    async with proxied(echo) as client:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        async with client.get(f"{PODS}/web/exec?command=id", headers=upgrade) as answer:
            assert answer.status == 400
            assert "does not pass on exec, attach and port-forward" in await answer.text()


async def test_an_api_server_that_is_gone_is_a_status():
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.close()
        return web.Response()

    async with proxied(hang_up) as client, client.get("/api/v1/nodes/n") as answer:
        assert answer.status == 502
        assert "the API server does not answer" in (await answer.json())["message"]


@pytest.mark.parametrize("length", [{"Content-Length": "1000"}, {}], ids=["known length", "chunked"])
async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(length: dict[str, str]):
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=length)
        await response.prepare(request)
        await response.write(b'{"items": [')
        assert request.transport
        request.transport.abort()
        return response

    async with proxied(break_off) as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get(PODS) as answer:
                await answer.read()


async def test_a_client_that_reads_slowly_holds_up_the_server_and_nothing_piles_up():
    written, chunk, most = 0, b"x" * 65536, 512

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(most):
            await response.write(chunk)
            written += len(chunk)
        return response

    async with proxied(endless) as client, client.get(PODS) as answer:
        await answer.content.readexactly(1)
        before = -1

        def full() -> bool:
            """Whether all buffers on the way are: nothing more was written since the last look."""
            nonlocal before
            before, last = written, before
            return before == last

        await eventually_async(full, every=0.3)
        assert written < most * len(chunk) / 2
        rest = 0
        async for part in answer.content.iter_any():
            rest += len(part)
    assert rest + 1 == most * len(chunk)


async def test_a_client_that_hangs_up_ends_the_watch_behind_the_proxy():
    ended = asyncio.Event()

    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"{}\n")
                await asyncio.sleep(0.02)
        finally:
            ended.set()

    async with proxied(watch) as client:
        async with client.get(f"{PODS}?watch=1") as answer:
            await answer.content.readline()
        await asyncio.wait_for(ended.wait(), 30)


def stored(*pending: str, version: int = 1, **more: Any) -> Json:
    return pod(*pending, uid="1", resourceVersion=str(version), **more)


def creating(*events: Json, watch_status: int = 200, created: Json | None = None) -> Handler:
    """An API server on which a pod is created uninitialized; then its watch brings these events."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response(created or stored("a.b.c"), status=201)
        assert request.headers["Authorization"] == "Bearer anna"
        if watch_status != 200:
            return web.json_response({"kind": "Status", "message": "you may not watch pods"}, status=watch_status)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(60)
        return response

    return handler


def changed(type: str, item: Json) -> Json:
    return {"type": type, "object": item}


async def post(handler: Handler, query: str = "", longest_wait: float = 30.0) -> tuple[int, Json, str]:
    async with proxied(handler, longest_wait) as client, client.post(PODS + query, json={}) as answer:
        return answer.status, await answer.json(), answer.headers.get("Warning", "")


async def test_a_creation_is_answered_with_the_initialized_object():
    events = [changed("MODIFIED", stored("d.e.f", version=2)), changed("MODIFIED", stored(version=3))]
    code, item, _ = await post(creating(*events))
    assert (code, item) == (201, stored(version=3))


async def test_a_failure_is_answered_with_its_result():
    code, status, _ = await post(creating(changed("MODIFIED", stored("a.b.c", version=2, result=FAILURE))))
    assert (code, status["kind"], status["message"], status["reason"]) == (403, "Status", "no", "Forbidden")


async def test_a_failure_whose_result_came_with_the_deletion_is_not_missed():
    code, status, _ = await post(creating(changed("DELETED", stored("a.b.c", version=2, result=FAILURE))))
    assert (code, status["message"]) == (403, "no")


async def test_an_object_that_is_deleted_meanwhile_is_an_internal_error():
    code, status, _ = await post(creating(changed("DELETED", stored("a.b.c", version=2))))
    assert code == 500
    assert "object deleted while waiting for creation" in status["message"]


@pytest.mark.parametrize(("query", "longest"), [("", 0.1), ("?timeout=0.1s", 30.0)])
async def test_a_creation_that_takes_too_long_is_a_timeout_and_the_object_stays(query: str, longest: float):
    code, status, _ = await post(creating(), query, longest)
    assert (code, status["reason"]) == (504, "Timeout")
    assert status["message"] == "Timeout: request did not complete within allowed duration"


@pytest.mark.parametrize("query", ["?includeUninitialized=true", "?dryRun=All"])
async def test_who_does_not_want_to_wait_gets_the_uninitialized_object(query: str):
    assert await post(creating(), query) == (201, stored("a.b.c"), "")


async def test_who_may_not_watch_gets_the_object_at_once_with_a_warning():
    code, item, warning = await post(creating(watch_status=403))
    assert (code, item) == (201, stored("a.b.c"))
    assert "not waited until it was initialized: you may not watch pods" in warning


async def test_an_object_without_initializers_is_answered_at_once_and_unchanged():
    assert await post(creating(created=stored())) == (201, stored(), "")


async def test_a_watch_that_ends_is_opened_again_from_where_it_stopped():
    asked: list[str] = []
    answers = iter([[changed("MODIFIED", stored("a.b.c", version=7))], [], [changed("MODIFIED", stored(version=8))]])

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response(stored("a.b.c"), status=201)
        asked.append(request.query["resourceVersion"])
        return web.Response(body=b"".join(json.dumps(event).encode() + b"\n" for event in next(answers)))

    code, _, _ = await post(handler)
    assert code == 201
    assert asked == ["1", "7", "7"]
