"""List and watch against a server that does everything wrong that servers and networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kubernetes.aio.client import ApiClient

from k8sext.kube.watch import Changed, Listed, list_and_watch
from tests.kube.conftest import Script, event, pods, status, stream
from tests.support.eventually import eventually_async

PODS = "/api/v1/pods"
LONG_LINE = {"type": "ADDED", "object": {"metadata": {"name": "x" * 300_000, "resourceVersion": "2"}}}


def watch(client: ApiClient, inactivity_timeout: float = 90) -> AsyncIterator[Listed | Changed]:
    return list_and_watch(client, PODS, first_delay=0.01, longest_delay=0.05, inactivity_timeout=inactivity_timeout)


async def take(stream: AsyncIterator[Listed | Changed], count: int) -> list[str]:
    """The next events, in short."""

    async def collect() -> list[str]:
        return [short(await anext(stream)) for _ in range(count)]

    return await asyncio.wait_for(collect(), 30)


def short(event: Listed | Changed) -> str:
    match event:
        case Listed(items):
            return "listed " + ",".join(item["metadata"]["name"] for item in items)
        case Changed(kind, item):
            return f"{kind} {item['metadata']['name'][:10]}"


def versions(script: Script) -> list[str | None]:
    """For each request the resource version that was asked for, None for a list."""
    return [request.query.get("resourceVersion") for request in script.requests]


async def test_a_list_comes_first_and_then_each_change(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a"), stream(event("ADDED", "b", 2), event("DELETED", "a", 3))]
    assert await take(watch(client), 3) == ["listed a", "ADDED b", "DELETED a"]
    query = script.requests[1].query
    assert query["allowWatchBookmarks"] == "true"
    assert int(query["timeoutSeconds"]) >= 300


async def test_listed_items_say_what_they_are(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a")]
    listed = await anext(watch(client))
    assert isinstance(listed, Listed)
    assert (listed.items[0]["kind"], listed.items[0]["apiVersion"]) == ("Pod", "v1")


async def test_an_orderly_end_goes_on_where_it_stopped(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a"), stream(event("ADDED", "b", 7), end="close"), stream(event("ADDED", "c", 8))]
    assert await take(watch(client), 3) == ["listed a", "ADDED b", "ADDED c"]
    assert versions(script) == [None, "1", "7"]


async def test_a_bookmark_is_where_to_go_on_but_no_change(script: Script, client: ApiClient) -> None:
    script.steps = [pods(), stream(event("BOOKMARK", "", 50), end="close"), stream(event("ADDED", "c", 51))]
    assert await take(watch(client), 2) == ["listed ", "ADDED c"]
    assert versions(script) == [None, "1", "50"]


async def test_a_cut_connection_goes_on_where_it_stopped(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a"), stream(event("ADDED", "b", 7), end="cut"), stream(event("ADDED", "c", 8))]
    assert await take(watch(client), 3) == ["listed a", "ADDED b", "ADDED c"]
    assert versions(script) == [None, "1", "7"]


async def test_a_stalled_connection_is_given_up_and_opened_anew(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a"), stream(event("ADDED", "b", 7)), stream(event("ADDED", "c", 8))]
    assert await take(watch(client, inactivity_timeout=0.1), 3) == ["listed a", "ADDED b", "ADDED c"]
    assert versions(script) == [None, "1", "7"]


async def test_garbage_is_not_taken_for_an_event(script: Script, client: ApiClient) -> None:
    garbage = [
        b"{]\n",
        b"[1]\n",
        b'{"type": "ADDED"}\n',
        b'{"type": "ADDED", "object": {}}\n',
        b"\xff\xfe\n",
        b'{"type": "ADDED", "obj',
    ]
    script.steps = [pods("a"), *(stream(line, end="close") for line in garbage), stream(event("ADDED", "b", 2))]
    assert await take(watch(client), 2) == ["listed a", "ADDED b"]
    assert versions(script)[1:] == ["1"] * (len(garbage) + 1)


async def test_an_answer_that_is_no_list_is_asked_for_again(script: Script, client: ApiClient) -> None:
    async def nonsense(_):
        from aiohttp import web

        return web.Response(text="<html>a proxy says hello</html>")

    script.steps = [nonsense, pods("a")]
    assert await take(watch(client), 1) == ["listed a"]


async def test_410_as_an_answer_brings_a_fresh_list(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a"), status(410, "Expired"), pods("b", version=90), stream(event("ADDED", "c", 91))]
    assert await take(watch(client), 3) == ["listed a", "listed b", "ADDED c"]
    assert versions(script) == [None, "1", None, "90"]


async def test_410_within_the_stream_brings_a_fresh_list(script: Script, client: ApiClient) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    script.steps = [pods("a"), stream(gone), pods("b", version=90)]
    assert await take(watch(client), 2) == ["listed a", "listed b"]


async def test_another_error_within_the_stream_does_not_list_again(script: Script, client: ApiClient) -> None:
    error = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}}
    script.steps = [pods("a"), stream(error), stream(event("ADDED", "b", 2))]
    assert await take(watch(client), 2) == ["listed a", "ADDED b"]
    assert versions(script) == [None, "1", "1"]


async def test_a_server_that_refuses_is_asked_until_it_answers(script: Script, client: ApiClient) -> None:
    script.steps = [
        status(403, "Forbidden"),
        status(500),
        status(429),
        pods("a"),
        status(503),
        stream(event("ADDED", "b", 2)),
    ]
    assert await take(watch(client), 2) == ["listed a", "ADDED b"]


async def test_a_line_of_any_length_is_one_event(script: Script, client: ApiClient) -> None:
    script.steps = [pods(), stream(LONG_LINE)]
    assert await take(watch(client), 2) == ["listed ", "ADDED xxxxxxxxxx"]


async def test_leaving_the_loop_closes_the_connection(script: Script, client: ApiClient) -> None:
    script.steps = [pods("a"), stream(event("ADDED", "b", 2))]
    events = watch(client)
    await take(events, 2)
    await events.aclose()  # type: ignore[attr-defined]
    transport = script.requests[1].transport
    await eventually_async(lambda: transport is None or transport.is_closing(), within=5)
