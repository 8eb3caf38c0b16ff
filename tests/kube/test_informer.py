"""The informer against a real API server, through a proxy that does to the stream what bad networks do.

Whatever happened, in the end the store equals a fresh list, and so does what the handlers were told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.informer import Informer, running, without_managed_fields
from k8sext.kube.objects import Json, key_of
from k8sext.kube.request import request
from tests.kube.proxy import (
    FaultyProxy,
    aborted,
    corrupted,
    cut_in_the_middle,
    doubled,
    ended,
    passed,
    slow,
    stalled,
    swallowed,
)
from tests.kube.servers import compact, end_restarted, restart_api_server, until_well
from tests.support.eventually import eventually_async

pytestmark = pytest.mark.cluster
PATH = "/api/v1/namespaces/default/configmaps"
SILENCE = 1.0


@pytest.fixture(scope="module")
def server(programs: dict[str, Path]) -> Iterator[PrivateApiServer]:
    with private_api_server() as started:
        yield started
        end_restarted()


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


async def until_equal(client: ApiClient, informer: Informer, told: Told) -> None:
    answer = await request(client, "GET", PATH)
    versions = {key_of(item): item["metadata"]["resourceVersion"] for item in answer["items"]}

    def same(items: list[Json]) -> bool:
        return {key_of(item): item["metadata"]["resourceVersion"] for item in items} == versions

    await eventually_async(lambda: same(informer.store.list()) and same(list(told.items.values())))


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
            await eventually_async(lambda: len(proxy.watches) > watches)
        proxy.fault = passed
        await until_equal(direct, informer, told)
    assert all("managedFields" not in item["metadata"] for item in informer.store.list())


@pytest.mark.parametrize("politely", [True, False])
async def test_a_server_that_ends_every_watch_at_once_is_not_hammered(
    politely: bool, proxy: FaultyProxy, direct: ApiClient
) -> None:
    informer, told = informer_for(proxy.client)
    proxy.fault = ended if politely else aborted
    async with running(informer):
        await change_things(direct, range(3))
        await eventually_async(lambda: len(proxy.watches) >= 4)
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
        restart_api_server(server)  # a fresh server has no memory of its own beyond what etcd kept
        await until_well(server, direct)
        proxy.cut_all()
        proxy.fault = passed
        await until_equal(direct, informer, told)
        assert proxy.lists > lists, "the version was not expired, so this test proves nothing"


async def test_a_restart_of_the_api_server_is_lived_through(server: PrivateApiServer, direct: ApiClient) -> None:
    informer, told = informer_for(direct)
    async with running(informer):
        await change_things(direct, range(4))
        await until_equal(direct, informer, told)
        restart_api_server(server)
        await until_well(server, direct)
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
