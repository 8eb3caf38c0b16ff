"""Schedulers side by side on one control plane: pods bound per second, latency, memory.

The workloads have the names of scheduler_perf (kubernetes/test/integration/scheduler_perf). Nodes are fake: they
register and run nothing. Pods wait for a scheduler that is not there yet; then it is started, and what is measured is
the time from the first binding to the last, as a watch of our own sees them, so that no program's start counts. Events
are on in all.

Peers: kube-scheduler as shipped (its client may send 50 requests a second, 100 at once) and with that limit lifted to
5000; and, for the pleasure of it, the book's loop: ask for pods that wait, bind each to a random node, ask again after
ten seconds.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

import psutil
import yaml

from benchmarks.report import Row
from k8sext import cluster
from k8sext.cluster import programs
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, request
from k8sext.kube.watch import Listed, list_and_watch

PODS, BOOK_PODS, STEADY_PODS, STEADY_RATE = 1000, 100, 400, 20
PATIENCE = 300.0
PODS_PATH = "/api/v1/namespaces/default/pods"
FLAGS = ("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",)
Server = cluster.PrivateApiServer
Start = Callable[[Server, str], "subprocess.Popen[bytes]"]


def run(rounds: int) -> Iterator[Row]:
    """All of it; the schedulers take turns."""
    with cluster.private_api_server(FLAGS) as server:
        for nodes, to_lifted in ((100, "at least 1.5x"), (1000, "at least 1x")):
            asyncio.run(make_nodes(server, nodes))
            yield from _throughput(server, f"SchedulingBasic {nodes}Nodes_{PODS}Pods", basic, rounds, to_lifted)
        yield from _throughput(server, f"SchedulingPodAntiAffinity 1000Nodes_{PODS}Pods", anti_affinity, 1, "")
        yield from _throughput(server, f"TopologySpreading 1000Nodes_{PODS}Pods", spreading, 1, "")
        yield from _throughput(server, f"SchedulingBasic, no two pods alike, 1000Nodes_{PODS}Pods", unlike, 1, "")
        yield _memory(server)
    with cluster.private_api_server(FLAGS) as server:
        asyncio.run(make_nodes(server, 100))
        yield from _latency(server)


def _throughput(server: Server, title: str, template: Callable[[int], Json], rounds: int, reach: str) -> Iterator[Row]:
    rates: dict[str, list[float]] = {name: [] for name in SCHEDULERS}
    for _ in range(rounds):
        for name, start in SCHEDULERS.items():
            rates[name].append(_drain(server, start, template))
    shipped, lifted = "kube-scheduler as shipped", "kube-scheduler, limit lifted"
    yield Row(title, "pods/s", rates["ours"], shipped, rates[shipped], "at least 5x" if "100Nodes" in title else "")
    yield Row(title, "pods/s", rates["ours"], lifted, rates[lifted], reach)


def _drain(server: Server, start: Start, template: Callable[[int], Json]) -> float:
    asyncio.run(make_pods(server, template, "bench", PODS))
    with _running(start(server, "bench")):
        times = asyncio.run(_bindings(server, PODS))
    asyncio.run(clear_pods(server))
    return (PODS - 1) / (times[-1] - times[0])


def basic(_: int) -> Json:
    return {"requests": {"cpu": "100m", "memory": "64Mi"}}


def unlike(number: int) -> Json:
    """No two pods want the same, so that nothing learned from one serves another."""
    return {"requests": {"cpu": f"{50 + number % 100}m", "memory": f"{64 + number}Mi"}}


def anti_affinity(number: int) -> Json:
    term = {"labelSelector": {"matchLabels": {"app": f"a{number % 10}"}}, "topologyKey": "kubernetes.io/hostname"}
    rule = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return basic(number) | {"labels": {"app": f"a{number % 10}"}, "spec": {"affinity": rule}}


def spreading(number: int) -> Json:
    constraint = {"maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    constraint["labelSelector"] = {"matchLabels": {"app": "spread"}}
    return basic(number) | {"labels": {"app": "spread"}, "spec": {"topologySpreadConstraints": [constraint]}}


def ours(server: Server, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "k8sext.scheduling", "--name", name, "--scores", "all", "--metrics-port", "0"]
    return subprocess.Popen([*command, "--kubeconfig", str(server.kubeconfig)], stdout=subprocess.DEVNULL)


def kube_scheduler(limit: Json) -> Start:
    def start(server: Server, name: str) -> subprocess.Popen[bytes]:
        config = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(server.kubeconfig)} | limit,
            "leaderElection": {"leaderElect": False},
            "profiles": [{"schedulerName": name}],
        }
        file = server.folder / "bench-scheduler.yaml"
        file.write_text(yaml.safe_dump(config))
        program = programs.find(("kube-scheduler",))["kube-scheduler"]
        return subprocess.Popen([program, f"--config={file}", "--secure-port=0"], stderr=subprocess.DEVNULL)

    return start


SCHEDULERS: dict[str, Start] = {
    "ours": ours,
    "kube-scheduler as shipped": kube_scheduler({}),
    "kube-scheduler, limit lifted": kube_scheduler({"qps": 5000, "burst": 5000}),
}


@contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def make_nodes(server: Server, count: int) -> None:
    capacity = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    await _each(server, "/api/v1/nodes", [_node(number, capacity) for number in range(count)], ignore=409)


def _node(number: int, capacity: Json) -> Json:
    name, zone = f"node-{number:04}", f"zone-{number % 3}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
    return {"metadata": {"name": name, "labels": labels}, "status": {"capacity": capacity, "allocatable": capacity}}


async def make_pods(
    server: Server, template: Callable[[int], Json], scheduler: str, count: int, first: int = 0
) -> None:
    await _each(server, PODS_PATH, [_pod(n, template(n), scheduler) for n in range(first, first + count)])


def _pod(number: int, parts: Json, scheduler: str) -> Json:
    container = {"name": "c", "image": "none", "resources": {"requests": parts["requests"]}}
    metadata = {"name": f"pod-{number:05}", "labels": parts.get("labels", {})}
    return {
        "metadata": metadata,
        "spec": {"schedulerName": scheduler, "containers": [container]} | parts.get("spec", {}),
    }


async def _each(server: Server, path: str, items: list[Json], ignore: int = 0) -> None:
    client, gate = await from_kubeconfig(server.kubeconfig), asyncio.Semaphore(16)

    async def one(item: Json) -> None:
        async with gate:
            try:
                await request(client, "POST", path, item)
            except ApiError as error:
                if error.code != ignore:
                    raise

    await asyncio.gather(*map(one, items))
    await client.close()


async def clear_pods(server: Server) -> None:
    client = await from_kubeconfig(server.kubeconfig)
    for kind in ("pods", "events"):
        await request(client, "DELETE", f"/api/v1/namespaces/default/{kind}", {"gracePeriodSeconds": 0}, timeout=120)
    await client.close()


async def _bindings(server: Server, count: int) -> list[float]:
    """Watch until so many pods are bound; when each was."""
    client = await from_kubeconfig(server.kubeconfig)
    bound: dict[str, float] = {}
    async with asyncio.timeout(PATIENCE):
        async for change in list_and_watch(client, PODS_PATH, query={"fieldSelector": "spec.nodeName!="}):
            for item in change.items if isinstance(change, Listed) else [change.object]:
                bound.setdefault(item["metadata"]["name"], time.perf_counter())
            if len(bound) >= count:
                break
    await client.close()
    return sorted(bound.values())


def _latency(server: Server) -> Iterator[Row]:
    """Pods come at a steady rate; how long does each wait?"""
    found: dict[str, list[float]] = {}
    for name, start in SCHEDULERS.items():
        with _running(start(server, "bench")):
            asyncio.run(_wait_until_it_works(server))
            found[name] = asyncio.run(_steady(server))
        asyncio.run(clear_pods(server))
    for title, cut in (("p50", 49), ("p99", 98)):
        figures = {name: quantiles(values, n=100)[cut] * 1000 for name, values in found.items()}
        what = f"created to bound at {STEADY_RATE} pods/s, {title}"
        yield Row(what, "ms", [figures["ours"]], "kube-scheduler as shipped", [figures["kube-scheduler as shipped"]])
    with _running(book(server, "bench")):
        asyncio.run(_wait_until_it_works(server))
        asyncio.run(clear_pods(server))
        waits = asyncio.run(_steady(server, BOOK_PODS))
    yield Row("the book's loop: created to bound, p50", "ms", [quantiles(waits, n=100)[49] * 1000])


async def _wait_until_it_works(server: Server) -> None:
    await make_pods(server, basic, "bench", 1, first=99_999)
    await _bindings(server, 1)


async def _steady(server: Server, count: int = STEADY_PODS) -> list[float]:
    client = await from_kubeconfig(server.kubeconfig)
    created: dict[str, float] = {}
    bound: dict[str, float] = {}

    async def create() -> None:
        for number in range(count):
            item = _pod(number, basic(number), "bench")
            created[item["metadata"]["name"]] = time.perf_counter()
            await request(client, "POST", PODS_PATH, item)
            await asyncio.sleep(random.expovariate(STEADY_RATE))

    creating = asyncio.create_task(create())
    async with asyncio.timeout(PATIENCE):
        async for change in list_and_watch(client, PODS_PATH):
            for item in change.items if isinstance(change, Listed) else [change.object]:
                if item["spec"].get("nodeName") and item["metadata"]["name"] in created:
                    bound.setdefault(item["metadata"]["name"], time.perf_counter())
            if len(bound) == count:
                break
    await creating
    await client.close()
    return [bound[name] - created[name] for name in bound]


def _memory(server: Server) -> Row:
    """Ten thousand pods on a thousand nodes, all known to both schedulers."""
    asyncio.run(make_pods(server, basic, "somebody", 10_000))
    figures = {}
    for name in ("ours", "kube-scheduler as shipped"):
        asyncio.run(_bind_all(server))
        with _running(SCHEDULERS[name](server, "bench")) as process:
            asyncio.run(make_pods(server, basic, "bench", 1, first=50_000))
            asyncio.run(_bindings(server, 10_001))
            figures[name] = psutil.Process(process.pid).memory_info().rss / 1e6
        server.kubectl("delete", "pod", "pod-50000", "--grace-period=0", "--force")
    return Row(
        "memory with 1000 nodes and 10,000 pods",
        "MB",
        [figures["ours"]],
        "kube-scheduler",
        [figures["kube-scheduler as shipped"]],
    )


async def _bind_all(server: Server) -> None:
    client, gate = await from_kubeconfig(server.kubeconfig), asyncio.Semaphore(16)
    items = (await request(client, "GET", PODS_PATH, query={"fieldSelector": "spec.nodeName="}, timeout=120))["items"]

    async def bind(number: int, name: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": f"node-{number % 1000:04}"}
        async with gate:
            await request(client, "POST", f"{PODS_PATH}/{name}/binding", {"metadata": {"name": name}, "target": target})

    await asyncio.gather(*(bind(number, item["metadata"]["name"]) for number, item in enumerate(items)))
    await client.close()


BOOK = """
import random, sys, time
from kubernetes import client, config
config.load_kube_config(sys.argv[1])
api = client.CoreV1Api()
while True:
    nodes = [node.metadata.name for node in api.list_node().items]
    for pod in api.list_pod_for_all_namespaces(field_selector="spec.nodeName=").items:
        target = client.V1ObjectReference(api_version="v1", kind="Node", name=random.choice(nodes))
        body = client.V1Binding(metadata=client.V1ObjectMeta(name=pod.metadata.name), target=target)
        api.create_namespaced_binding(pod.metadata.namespace, body, _preload_content=False)
    time.sleep(10)
"""


def book(server: Server, name: str) -> subprocess.Popen[bytes]:
    """The book's scheduler. It looks at no names and no resources."""
    return subprocess.Popen([sys.executable, "-c", BOOK, str(server.kubeconfig)])
