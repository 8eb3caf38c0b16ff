"""The judge: on random clusters, our filters leave the same nodes as those of the real kube-scheduler.

kube-scheduler asks an extender about the nodes that passed its own filters, and does not ask when none did. Ours strikes out all of
them, so that no pod is ever placed and one world can be asked about many pods.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kubernetes.aio.client import ApiClient

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.request import ApiError, request
from k8sext.scheduling.cache import Cache
from k8sext.scheduling.extender import configuration, extender
from k8sext.scheduling.finder import Finder
from k8sext.scheduling.profiles import KUBE
from tests.scheduling.building import HOSTNAME, REQUIRED, ZONE, Json, node, pod, taint
from tests.scheduling.conftest import FLAGS

pytestmark = pytest.mark.cluster

NAMESPACES = {"default": {"team": "a"}, "other": {"team": "b"}}
PROBES, WITHIN = 120, 60.0

apps = st.sampled_from(["web", "db", "cache"])
keys = st.sampled_from([ZONE, HOSTNAME, "rack"])
values = st.sampled_from(["1", "2", "30"])
effects = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
some = st.lists


def either(*strategies: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), *strategies)


@st.composite
def nodes(draw: st.DrawFn, number: int) -> Json:
    labels = {"disk": draw(st.sampled_from(["ssd", "hdd"]))}
    if rack := draw(either(values)):
        labels["rack"] = rack
    taints = {
        t["key"]: t for t in draw(some(st.builds(taint, st.sampled_from(["gpu", "team"]), effects, values), max_size=2))
    }
    capacity = {
        "cpu": draw(st.sampled_from(["1", "2500m", "4"])),
        "memory": draw(st.sampled_from(["512Mi", "2Gi"])),
        "pods": draw(st.sampled_from(["3", "5", "110"])),
    }
    if draw(st.booleans()):
        capacity["example.com/gpu"] = "2"
    zone = draw(st.sampled_from(["", "a", "b", "c"]))
    cordoned = draw(st.integers(0, 9)) == 0
    return node(
        f"node-{number}", zone, labels=labels, taints=list(taints.values()), capacity=capacity, unschedulable=cordoned
    )


@st.composite
def expressions(draw: st.DrawFn) -> Json:
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]))
    expression: Json = {"key": draw(st.sampled_from(["disk", "rack", ZONE])), "operator": operator}
    if operator in ("In", "NotIn"):
        expression["values"] = draw(some(st.sampled_from(["ssd", "1", "2", "a", "b"]), min_size=1, max_size=2))
    if operator in ("Gt", "Lt"):
        expression["values"] = ["2"]
    return expression


@st.composite
def node_terms(draw: st.DrawFn) -> Json:
    found: Json = {"matchExpressions": draw(some(expressions(), max_size=2))}
    if draw(st.integers(0, 9)) == 0:
        operator = draw(st.sampled_from(["In", "NotIn"]))
        found["matchFields"] = [{"key": "metadata.name", "operator": operator, "values": ["node-1"]}]
    return found


@st.composite
def selectors(draw: st.DrawFn) -> Json:
    if draw(st.integers(0, 9)) == 0:
        return {}
    if draw(st.integers(0, 3)) == 0:
        operator = draw(st.sampled_from(["In", "NotIn"]))
        return {
            "matchExpressions": [
                {"key": "app", "operator": operator, "values": draw(some(apps, min_size=1, max_size=2))}
            ]
        }
    return {"matchLabels": {"app": draw(apps)}}


@st.composite
def pod_terms(draw: st.DrawFn) -> Json:
    found: Json = {"labelSelector": draw(selectors()), "topologyKey": draw(keys)}
    where = draw(st.integers(0, 5))
    if where == 0:
        found["namespaces"] = ["other"]
    if where == 1:
        found["namespaceSelector"] = draw(st.sampled_from([{}, {"matchLabels": {"team": "b"}}]))
    return found


@st.composite
def constraints(draw: st.DrawFn) -> Json:
    found: Json = {
        "maxSkew": draw(st.integers(1, 2)),
        "topologyKey": draw(keys),
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": draw(selectors()),
        "nodeAffinityPolicy": draw(st.sampled_from(["Honor", "Ignore"])),
        "nodeTaintsPolicy": draw(st.sampled_from(["Honor", "Ignore"])),
    }
    if draw(st.booleans()):
        found["minDomains"] = draw(st.integers(1, 4))
    return found


tolerations = st.one_of(
    st.builds(
        lambda key, effect: {"key": key, "operator": "Exists", "effect": effect},
        st.sampled_from(["gpu", "team"]),
        effects,
    ),
    st.builds(
        lambda key, value: {"key": key, "operator": "Equal", "value": value}, st.sampled_from(["gpu", "team"]), values
    ),
    st.just({"operator": "Exists"}),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "100m", "0.75", "2"]),
        "memory": st.sampled_from(["64Mi", "500M", "1Gi"]),
        "example.com/gpu": st.just("1"),
    },
)


@st.composite
def containers(draw: st.DrawFn, name: str) -> Json:
    wanted = draw(requests)
    limits = {key: value for key, value in wanted.items() if "/" in key}
    found: Json = {"name": name, "image": "none", "resources": {"requests": wanted, "limits": limits}}
    if name == "c0" and draw(st.integers(0, 3)) == 0:
        found["ports"] = [
            {
                "containerPort": 80,
                "hostPort": draw(st.sampled_from([80, 81])),
                "hostIP": draw(st.sampled_from(["", "10.0.0.1"])),
            }
        ]
    return found


@st.composite
def pods(draw: st.DrawFn, name: str, on: str = "") -> Json:
    item = pod(name, on, labels={"app": draw(apps)}, namespace=draw(st.sampled_from(list(NAMESPACES))))
    spec = item["spec"]
    spec["containers"] = [draw(containers(f"c{number}")) for number in range(draw(st.integers(1, 2)))]
    spec["initContainers"] = [
        draw(containers(f"i{number}")) | draw(st.sampled_from([{}, {"restartPolicy": "Always"}]))
        for number in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    ]
    affinity: Json = {}
    kind = draw(st.integers(0, 9))
    if kind < 2:
        affinity["podAffinity"] = {REQUIRED: draw(some(pod_terms(), min_size=1, max_size=2))}
    if kind in (1, 2, 3):
        affinity["podAntiAffinity"] = {REQUIRED: draw(some(pod_terms(), min_size=1, max_size=2))}
    if not on:
        spec["schedulerName"] = "judge"
        spec["tolerations"] = draw(some(tolerations, max_size=2))
        if kind in (3, 4):
            spec["nodeSelector"] = {"disk": "ssd"}
        if kind in (5, 6):
            affinity["nodeAffinity"] = {
                REQUIRED: {"nodeSelectorTerms": draw(some(node_terms(), min_size=1, max_size=2))}
            }
        if kind in (6, 7, 8):
            found = draw(some(constraints(), min_size=1, max_size=2, unique_by=lambda c: c["topologyKey"]))
            spec["topologySpreadConstraints"] = found
        if draw(st.integers(0, 9)) == 0:
            spec["runtimeClassName"] = "heavy"  # has an overhead
    spec["affinity"] = affinity
    return item


@dataclass(frozen=True)
class World:
    """Nodes, pods that run on them, and pods to ask about."""

    nodes: list[Json]
    running: list[Json]
    probes: list[Json]

    def __repr__(self) -> str:
        return f"a world of {len(self.nodes)} nodes and {len(self.running)} running pods"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    size = draw(st.integers(3, 8))
    running = [
        draw(pods(f"running-{n}", on=f"node-{draw(st.integers(0, size - 1))}")) for n in range(draw(st.integers(0, 14)))
    ]
    return World([draw(nodes(n)) for n in range(size)], running, [draw(pods(f"probe-{n}")) for n in range(PROBES)])


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

    async def build(self, world: World) -> None:
        await self.clear()
        for items, path in ((world.nodes, "nodes"), (world.running, "pods"), (world.probes, "pods")):
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
    finder = Finder(cache, KUBE)
    for item in pods:
        if not item["spec"].get("nodeName"):
            decision, points = finder.explain(cache.read(item))
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


async def agree(judge: Judge, world: World) -> None:
    await judge.build(world)
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
    checked(given(worlds())(lambda world: judge.run(agree(judge, world))))()
