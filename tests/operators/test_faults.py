"""The controller as a process of its own that is killed, doubled and cut off while work is under way.

In the end every report is Ready, for the spec it has now, with one pod, and no generation of any report was collected
twice. CI does ten rounds, `--long` a hundred.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from k8sext.cluster import PrivateApiServer
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.request import MERGE_PATCH, ApiError, request
from k8sext.kube.resource import SERVICE_ACCOUNTS
from k8sext.operators.reconcile import REPORTS
from tests.kube.servers import restart_api_server, until_well
from tests.operators.conftest import PretendedNode, Reports, ready
from tests.support.eventually import eventually_async

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
NAMESPACE = "default"
WRITES = 100
"""To each of five objects, beside the controller's own: a few seconds of conflicts."""


class Operator:
    """The controller, as often as it is started."""

    def __init__(self, server: PrivateApiServer) -> None:
        options = [
            "--kubeconfig",
            str(server.kubeconfig),
            "--namespace",
            NAMESPACE,
            "--port",
            "-1",
            "--log-level",
            "WARNING",
        ]
        self._command = [sys.executable, "-m", "k8sext.operators", *options]
        self._log = (server.folder / "operator.log").open("ab")
        self.running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        self.running.append(await asyncio.create_subprocess_exec(*self._command, stdout=self._log, stderr=self._log))

    async def kill(self) -> None:
        process = self.running.pop(0)
        assert process.returncode is None, "it ended on its own"
        process.kill()
        await process.wait()

    async def end(self) -> None:
        while self.running:
            await self.kill()


@asynccontextmanager
async def world(server: PrivateApiServer) -> AsyncIterator[tuple[Reports, PretendedNode, Operator]]:
    client = await from_kubeconfig(server.kubeconfig)
    for name in ("default", "weather-collector"):
        try:
            path = SERVICE_ACCOUNTS.collection(NAMESPACE)
            await request(client, "POST", path, {"metadata": {"name": name}})
        except ApiError as error:
            assert error.code == 409
    operator = Operator(server)
    try:
        async with PretendedNode(client, NAMESPACE) as node:
            yield Reports(client, NAMESPACE), node, operator
    finally:
        await operator.end()
        await client.close()


async def all_ready(reports: Reports, names: list[str]) -> None:
    """Wait until every report of this test is Ready."""

    async def look() -> bool:
        found = {report["metadata"]["name"]: report for report in await reports.all()}
        late = {name: found[name].get("status") for name in names if name not in found or not ready(found[name])}
        assert not late
        return True

    await eventually_async(look, every=0.1, not_yet=KeyError)


async def one_pod_each(reports: Reports, names: list[str]) -> None:
    """Each report has the one pod that its status names; what came before it goes a moment after the report is
    Ready."""
    expected = {report["status"]["pod"] for report in await reports.all() if report["metadata"]["name"] in names}

    async def look() -> bool:
        pods = [pod["metadata"] for pod in await reports.pods()]
        assert sorted(pod["name"] for pod in pods if pod["ownerReferences"][0]["name"] in names) == sorted(expected)
        return True

    await eventually_async(look, every=0.1)


def rounds(config: pytest.Config) -> int:
    return 100 if config.getoption("--long") else 10


async def test_killed_at_any_moment_it_leaves_every_report_ready_exactly_once(
    server: PrivateApiServer, pytestconfig: pytest.Config
) -> None:
    async with world(server) as (reports, node, operator):
        for number in range(rounds(pytestconfig)):
            names = [f"kill-{number}-{index}" for index in range(5)]
            await operator.start()
            await asyncio.gather(*(reports.create(name, "Oslo") for name in names))
            chance = random.Random(number)
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            await operator.kill()
            changed = chance.sample(names, 2)
            for name in changed:
                await reports.change(name, days=2)
            await operator.start()
            await all_ready(reports, names)
            await one_pod_each(reports, names)
            await operator.end()
        twice = {key: count for key, count in node.started.items() if count > 1}
        assert not twice, "these were collected more than once"


async def test_two_controllers_that_both_work_double_nothing(server: PrivateApiServer) -> None:
    async with world(server) as (reports, node, operator):
        await operator.start()
        await operator.start()
        names = [f"double-{index}" for index in range(20)]
        await asyncio.gather(*(reports.create(name, "Oslo") for name in names))
        await all_ready(reports, names)
        for name in names:
            await reports.change(name, city="Paris")
        await all_ready(reports, names)
        await one_pod_each(reports, names)
        assert {count for key, count in node.started.items() if key[0] in names} == {1}


async def test_a_storm_of_conflicting_writes_is_lived_through(server: PrivateApiServer) -> None:
    async with world(server) as (reports, node, operator):
        await operator.start()
        names = [f"storm-{index}" for index in range(5)]
        await asyncio.gather(*(reports.create(name, "Oslo") for name in names))

        async def meddle(name: str) -> None:
            """Change the object, though not its spec, as fast as it goes: every resource version is old at once."""
            for count in range(WRITES):
                body = {"metadata": {"annotations": {"count": str(count)}}}
                await request(reports.client, "PATCH", REPORTS.path(name, NAMESPACE), body, content_type=MERGE_PATCH)

        await asyncio.gather(*(meddle(name) for name in names))
        await all_ready(reports, names)
        await one_pod_each(reports, names)
        assert {count for key, count in node.started.items() if key[0] in names} == {1}


async def test_a_restart_of_the_api_server_is_lived_through(server: PrivateApiServer) -> None:
    async with world(server) as (reports, node, operator):
        await operator.start()
        names = [f"restart-{index}" for index in range(10)]
        await asyncio.gather(*(reports.create(name, "Oslo") for name in names[:5]))
        restart_api_server(server)
        await until_well(server, reports.client, reports.path)
        await asyncio.gather(*(reports.create(name, "Oslo") for name in names[5:]))
        await all_ready(reports, names)
        await eventually_async(lambda: operator.running[0].returncode is None)
        await one_pod_each(reports, names)
        assert {count for key, count in node.started.items() if key[0] in names} == {1}


async def test_asked_to_end_it_does_what_it_has_in_hand_and_ends_with_success(server: PrivateApiServer) -> None:
    async with world(server) as (reports, _, operator):
        await operator.start()
        await reports.create("end", "Oslo")
        await all_ready(reports, ["end"])
        process = operator.running.pop()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
