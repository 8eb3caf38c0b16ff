"""The judge: on random clusters, our filters leave the same nodes as those of the real kube-scheduler.

kube-scheduler asks an extender about the nodes that passed its own filters, and does not ask when none did. Ours
strikes out all of them, so that no pod is ever placed and one snapshot can be asked about many pods.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from kubernetes.aio.client import ApiClient

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, request
from k8sext.scheduling.cache import Cache
from k8sext.scheduling.extender import configuration, extender
from k8sext.scheduling.framework import Framework
from k8sext.scheduling.profiles import KUBE
from tests.scheduling.conftest import FLAGS
from tests.scheduling.strategies import NAMESPACES, Snapshot, snapshots

pytestmark = pytest.mark.cluster

WITHIN = 60.0


class Judge:
    """A private API server, the real kube-scheduler, and the extender that it asks."""

    def __init__(self, server: PrivateApiServer, programs: dict[str, Path], stack: ExitStack) -> None:
        self.server = server
        self.passed: dict[str, set[str]] = {}
        self.loop = asyncio.new_event_loop()
        stack.callback(self.loop.close)
        self.client: ApiClient = self.loop.run_until_complete(from_kubeconfig(server.kubeconfig))
        stack.callback(lambda: self.loop.run_until_complete(self.client.close()))
        context = extender(filter=self._strike_out)
        url = self.loop.run_until_complete(context.__aenter__())
        stack.callback(lambda: self.loop.run_until_complete(context.__aexit__(None, None, None)))
        self._kube_scheduler(programs["kube-scheduler"], url, stack)
        for name, labels in NAMESPACES.items():
            self.create("namespaces", {"metadata": {"name": name, "labels": labels}})
        overhead = {"podFixed": {"cpu": "300m", "memory": "100Mi"}}
        heavy = {"metadata": {"name": "heavy"}, "handler": "heavy", "overhead": overhead}
        self.run(request(self.client, "POST", "/apis/node.k8s.io/v1/runtimeclasses", heavy))

    def _strike_out(self, item: Json, names: list[str]) -> dict[str, str]:
        self.passed[item["metadata"]["uid"]] = set(names)
        return dict.fromkeys(names, "judged")

    def _kube_scheduler(self, program: Path, url: str, stack: ExitStack) -> None:
        config = configuration(str(self.server.kubeconfig), "judge", url, prioritizeVerb="")
        config["clientConnection"] |= {"qps": 1000, "burst": 1000}
        config |= {"percentageOfNodesToScore": 100, "podMaxBackoffSeconds": 1}
        config["profiles"][0]["plugins"] = {"postFilter": {"disabled": [{"name": "*"}]}}
        file = self.server.folder / "judge.yaml"
        file.write_text(yaml.safe_dump(config))
        with (self.server.folder / "judge.log").open("w") as log:
            process = subprocess.Popen([program, f"--config={file}", "--secure-port=0"], stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def create(self, path: str, item: Json) -> Json:
        try:
            return self.run(request(self.client, "POST", f"/api/v1/{path}", item))
        except ApiError as error:
            if error.code != 409:
                raise
            labels = {"metadata": {"labels": item["metadata"]["labels"]}}
            kind = "application/merge-patch+json"
            return self.run(
                request(self.client, "PATCH", f"/api/v1/{path}/{item['metadata']['name']}", labels, content_type=kind)
            )

    async def build(self, snapshot: Snapshot) -> None:
        await self.clear()
        for items, path in ((snapshot.nodes, "nodes"), (snapshot.running, "pods"), (snapshot.probes, "pods")):
            await asyncio.gather(*(self._post(path, item) for item in items))

    async def _post(self, path: str, item: Json) -> None:
        prefix = f"namespaces/{item['metadata']['namespace']}/" if path == "pods" else ""
        item["metadata"].pop("uid", None)
        item["metadata"].pop("resourceVersion", None)
        await request(self.client, "POST", f"/api/v1/{prefix}{path}", item)

    async def clear(self) -> None:
        now = {"gracePeriodSeconds": 0}
        await asyncio.gather(
            *(request(self.client, "DELETE", f"/api/v1/namespaces/{name}/pods", now) for name in NAMESPACES)
        )
        await request(self.client, "DELETE", "/api/v1/nodes", now)
        self.passed.clear()

    async def everything(self) -> tuple[list[Json], list[Json]]:
        found = [(await request(self.client, "GET", f"/api/v1/{kind}"))["items"] for kind in ("nodes", "pods")]
        return found[0], found[1]

    async def nudge(self, probe: Json, number: int) -> None:
        """Make kube-scheduler look again, should it have looked before it had heard of all nodes and pods."""
        path = f"/api/v1/namespaces/{probe['metadata']['namespace']}/pods/{probe['metadata']['name']}"
        label = {"metadata": {"labels": {"nudge": str(number)}}}
        await request(self.client, "PATCH", path, label, content_type="application/merge-patch+json")


@pytest.fixture(scope="module")
def judge(programs: dict[str, Path]) -> Iterator[Judge]:
    with ExitStack() as stack:
        yield Judge(stack.enter_context(private_api_server(FLAGS)), programs, stack)


def ours(nodes: list[Json], pods: list[Json]) -> dict[str, tuple[set[str], str]]:
    """For each probe: the nodes that pass our filters, and our message if none does."""
    cache = Cache()
    for name, labels in NAMESPACES.items():
        cache.set_namespace(name, labels | {"kubernetes.io/metadata.name": name})
    for item in nodes:
        cache.set_node(item)
    for item in pods:
        if item["spec"].get("nodeName"):
            cache.set_pod(cache.read(item))
    verdicts = {}
    framework = Framework(cache, KUBE)
    for item in pods:
        if not item["spec"].get("nodeName"):
            decision, points = framework.explain(cache.read(item))
            verdicts[item["metadata"]["uid"]] = set(points), "" if points else decision.message
    return verdicts


def theirs(judge: Judge, item: Json) -> tuple[set[str], str] | None:
    """The same from kube-scheduler; None while it has not said anything."""
    conditions = item.get("status", {}).get("conditions") or [{}]
    message = conditions[0].get("message", "")
    if not message:
        return None
    if "judged" in message:
        return judge.passed.get(item["metadata"]["uid"], set()), ""
    return set(), message


def by_name(item: Json) -> bool:
    """Whether the pod asks for nodes by name, for which kube-scheduler has a shortcut with words of its own."""
    return "matchFields" in str(item["spec"].get("affinity"))


async def disagreements(judge: Judge) -> dict[str, Any]:
    nodes, pods = await judge.everything()
    expected, found = ours(nodes, pods), {}
    for item in pods:
        if item["spec"].get("nodeName"):
            continue
        mine, verdict = expected[item["metadata"]["uid"]], theirs(judge, item)
        if verdict is None or verdict[0] != mine[0] or (verdict[1] != mine[1] and not by_name(item)):
            found[item["metadata"]["name"]] = (item, mine, verdict)
    return found


async def agree(judge: Judge, snapshot: Snapshot) -> None:
    await judge.build(snapshot)
    loop = asyncio.get_running_loop()
    deadline, numbers = loop.time() + WITHIN, itertools.count()
    while found := await disagreements(judge):
        if loop.time() > deadline:
            name, (item, mine, verdict) = next(iter(found.items()))
            pytest.fail(
                f"{len(found)} disagree, e.g. {name}: ours {mine}, theirs {verdict}\n{yaml.safe_dump(item['spec'])}"
            )
        await asyncio.sleep(0.25)
        number = next(numbers)
        if number % 6 == 5:
            await asyncio.gather(*(judge.nudge(item, number) for item, *_ in found.values()))


@pytest.mark.slow
def test_our_filters_leave_the_nodes_that_those_of_kube_scheduler_leave(
    judge: Judge, request: pytest.FixtureRequest
) -> None:
    checked = settings(
        max_examples=100 if request.config.getoption("--long") else 17,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        phases=[Phase.generate],
        derandomize=not request.config.getoption("--long"),
    )
    checked(given(snapshots())(lambda snapshot: judge.run(agree(judge, snapshot))))()
