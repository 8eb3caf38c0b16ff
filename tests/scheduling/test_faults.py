"""Faults: the scheduler is killed and the API server restarted while work is under way, and every pod ends bound
once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8sext import cluster as clusters
from k8sext.infra.kubelet.node.fake_nodes import FAKE
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.request import Unreachable
from tests.scheduling.building import node, pod
from tests.scheduling.conftest import Api
from tests.support.eventually import eventually_async

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NODES, PODS = 10, 60
NAME = "killed"


async def start(kubeconfig: Path, *options: str) -> asyncio.subprocess.Process:
    command = [
        "-m",
        "k8sext.scheduling",
        "--name",
        NAME,
        "--kubeconfig",
        str(kubeconfig),
        "--metrics-port",
        "0",
        *options,
    ]
    return await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)


async def check_all_bound_within_capacity(api: Api) -> None:
    places = await api.bound(*(f"p{number}" for number in range(PODS)))
    assert set(places.values()) <= {f"n{number}" for number in range(NODES)}
    assert max(list(places.values()).count(place) for place in places.values()) <= PODS // NODES


async def test_killed_at_random_points_it_binds_every_pod_once(
    api: Api, server: clusters.PrivateApiServer, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(11)
    rounds = 20 if request.config.getoption("--long") else 3
    # exactly room for all: one pod counted twice or lost would show
    await api.create(*(node(f"n{number}", capacity={"pods": str(PODS // NODES)}) for number in range(NODES)))
    await api.create(*(pod(f"p{number}", schedulerName=NAME) for number in range(PODS)))
    for _ in range(rounds):
        process = await start(server.kubeconfig, "--bindings", "2")
        assert process.stdout
        for _ in range(
            1 + chance.randrange(PODS // rounds - 1)
        ):  # dies in the middle of its work, not at a time of day
            await asyncio.wait_for(process.stdout.readline(), 90)
        process.kill()
        await process.wait()
    process = await start(server.kubeconfig)
    try:
        await check_all_bound_within_capacity(api)
    finally:
        process.terminate()
        assert await process.wait() == 0


@pytest.fixture(scope="module")
def own_cluster(programs: object) -> Iterator[clusters.Cluster]:
    """A cluster whose API server may be killed: its supervisor starts it again. It has a hundred nodes more that only
    register."""
    with clusters.up("scheduling-faults", fake_nodes=100) as found:
        yield found


async def test_the_api_server_is_killed_meanwhile_and_every_pod_is_bound(own_cluster: clusters.Cluster) -> None:
    client = await from_kubeconfig(own_cluster.kubeconfig)
    api = Api(client)
    process = await start(own_cluster.kubeconfig, "--bindings", "2")
    names = [f"p{number}" for number in range(PODS)]
    try:
        only_fake = {"nodeSelector": {FAKE: ""}, "tolerations": [{"key": FAKE, "operator": "Exists"}]}
        await api.create(*(pod(name, schedulerName=NAME, **only_fake) for name in names))
        assert process.stdout
        for _ in range(10):
            await asyncio.wait_for(process.stdout.readline(), 90)
        status = await asyncio.to_thread(own_cluster.status)
        components = {component["name"]: component["pid"] for component in status["components"]}
        os.kill(components["kube-apiserver"], signal.SIGKILL)
        places = await eventually_async(lambda: api.bound(*names), not_yet=Unreachable)
        assert all(place.startswith("fake-") for place in places.values())
        assert process.returncode is None
    finally:
        process.terminate()
        await process.wait()
        await client.close()


async def test_two_copies_with_an_election_share_the_work_one_after_the_other(own_cluster: clusters.Cluster) -> None:
    client = await from_kubeconfig(own_cluster.kubeconfig)
    api = Api(client)
    copies = [await start(own_cluster.kubeconfig, "--leader-elect", "--namespace", "default") for _ in range(2)]
    try:
        await api.create(pod("first", schedulerName=NAME))
        await api.bound("first")
        lease = own_cluster.kubectl("get", "lease", NAME, "-o", "jsonpath={.spec.holderIdentity}")
        leader = next(copy for copy in copies if lease.endswith(f"-{copy.pid}"))
        leader.terminate()
        await leader.wait()
        await api.create(pod("second", schedulerName=NAME))
        await api.bound("second")
        assert not own_cluster.kubectl("get", "lease", NAME, "-o", "jsonpath={.spec.holderIdentity}").endswith(
            f"-{leader.pid}"
        )
    finally:
        for copy in copies:
            if copy.returncode is None:
                copy.terminate()
                await copy.wait()
        await client.close()
