"""One request: what goes out, what comes back, what is raised."""

from __future__ import annotations

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from tests.kube.conftest import Script, status, stream


async def test_a_patch_goes_out_as_the_type_that_was_asked_for(script: Script, client: ApiClient) -> None:
    bodies = []

    async def echo(received: web.Request) -> web.StreamResponse:
        bodies.append((received.method, received.content_type, dict(received.query), await received.json()))
        return web.json_response({"kind": "Pod"})

    script.steps = [echo]
    answer = await request(client, "PATCH", "/api/v1/x", {"a": None}, query={"dryRun": "All"}, content_type=MERGE_PATCH)
    assert answer == {"kind": "Pod"}
    assert bodies == [("PATCH", MERGE_PATCH, {"dryRun": "All"}, {"a": None})]


async def test_a_refusal_carries_code_reason_and_message(script: Script, client: ApiClient) -> None:
    script.steps = [status(404, "NotFound")]
    with pytest.raises(ApiError, match="no: NotFound") as raised:
        await request(client, "GET", "/api/v1/x")
    assert (raised.value.code, raised.value.reason) == (404, "NotFound")


async def test_a_refusal_without_a_status_shows_its_text(script: Script, client: ApiClient) -> None:
    async def plain(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="bad gateway")

    script.steps = [plain]
    with pytest.raises(ApiError, match="bad gateway"):
        await request(client, "GET", "/api/v1/x")


async def test_an_answer_that_never_ends_is_unreachable(script: Script, client: ApiClient) -> None:
    script.steps = [stream(b"{")]
    with pytest.raises(Unreachable, match="GET /api/v1/x"):
        await request(client, "GET", "/api/v1/x", timeout=0.1)


async def test_a_cut_answer_is_unreachable(script: Script, client: ApiClient) -> None:
    script.steps = [stream(b"{", end="cut")]
    with pytest.raises(Unreachable):
        await request(client, "GET", "/api/v1/x")


async def test_nobody_listening_is_unreachable() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    client = ApiClient(configuration)
    with pytest.raises(Unreachable):
        await request(client, "GET", "/api/v1/x")
    await client.close()
