"""Leader election: one works, the others wait; the lease is given back, taken over, and never held by two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiClient

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.election import LeadershipLost, lead
from k8sext.kube.objects import Json
from k8sext.kube.request import MERGE_PATCH, request
from tests.kube.proxy import FaultyProxy
from tests.support.eventually import eventually_async

pytestmark = pytest.mark.cluster
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


@pytest.fixture(scope="module")
def server(programs: dict[str, Path]) -> Iterator[PrivateApiServer]:
    with private_api_server() as started:
        yield started


@pytest.fixture
async def client(server: PrivateApiServer) -> AsyncIterator[ApiClient]:
    client = await from_kubeconfig(server.kubeconfig)
    yield client
    await client.close()


class Candidate:
    """One copy of a program: works until it is told to end, or the lease is lost."""

    def __init__(self, client: ApiClient, name: str, identity: str) -> None:
        self.works = False
        self.enough = asyncio.Event()
        self.task = asyncio.create_task(
            lead(
                client,
                self.work,
                name=name,
                namespace="default",
                identity=identity,
                lease_duration=4,
                renew_deadline=3,
                retry_period=1,
            )
        )

    async def work(self) -> None:
        self.works = True
        try:
            await self.enough.wait()
        finally:
            self.works = False


async def lease(client: ApiClient, name: str) -> Json:
    return (await request(client, "GET", f"{LEASES}/{name}"))["spec"]


async def test_one_works_and_the_next_takes_over_when_it_ends(client: ApiClient) -> None:
    first = Candidate(client, "hand-over", "first")
    await eventually_async(lambda: first.works)
    second = Candidate(client, "hand-over", "second")
    held = await lease(client, "hand-over")
    assert (held["holderIdentity"], held["leaseDurationSeconds"]) == ("first", 4)
    await until_renewed(client, "hand-over", held["renewTime"])
    assert not second.works
    first.enough.set()
    await first.task
    assert (await lease(client, "hand-over"))["holderIdentity"] in ("", "second")
    await eventually_async(lambda: second.works)
    second.enough.set()
    await second.task


async def test_who_dies_without_a_word_is_followed_when_the_lease_has_run_out(client: ApiClient) -> None:
    gone = {"metadata": {"name": "dead"}, "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 4}}
    now = {"acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"}
    gone["spec"] |= now
    await request(client, "POST", LEASES, gone)
    heir = Candidate(client, "dead", "heir")
    await eventually_async(lambda: heir.works)
    assert (await lease(client, "dead"))["holderIdentity"] == "heir"
    heir.task.cancel()
    await asyncio.gather(heir.task, return_exceptions=True)
    assert (await lease(client, "dead"))["holderIdentity"] == "", "an end by cancellation gives the lease back, too"


async def test_who_cannot_renew_stops_working_before_another_may_begin(
    server: PrivateApiServer, client: ApiClient
) -> None:
    async with FaultyProxy(server) as proxy:
        cut_off = Candidate(proxy.client, "cut-off", "cut-off")
        await eventually_async(lambda: cut_off.works)
        other = Candidate(client, "cut-off", "other")
        together = []

        async def watch() -> None:
            while not other.works:
                together.append(cut_off.works and other.works)
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        proxy.server = "https://127.0.0.1:9"
        with pytest.raises(LeadershipLost, match="could not renew"):
            await cut_off.task
        assert not cut_off.works
        await watching
        assert not any(together)
        other.enough.set()
        await other.task


async def test_a_lease_that_somebody_else_took_is_not_given_back(client: ApiClient) -> None:
    first = Candidate(client, "taken", "first")
    await eventually_async(lambda: first.works)
    body = {"spec": {"holderIdentity": "thief"}}
    await request(client, "PATCH", f"{LEASES}/taken", body, content_type=MERGE_PATCH)
    first.enough.set()
    await first.task
    assert (await lease(client, "taken"))["holderIdentity"] == "thief"


async def test_an_error_in_the_work_is_raised_and_the_lease_given_back(client: ApiClient) -> None:
    async def fails() -> None:
        raise ValueError("broken on purpose")

    with pytest.raises(ValueError, match="broken on purpose"):
        await lead(client, fails, name="broken", namespace="default", identity="one")
    assert (await lease(client, "broken"))["holderIdentity"] == ""


async def until_renewed(client: ApiClient, name: str, since: str) -> None:
    async def look() -> bool:
        return (await lease(client, name))["renewTime"] != since

    await eventually_async(look)
