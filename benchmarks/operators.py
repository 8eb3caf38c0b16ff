"""The operator: reports handled per second beside kopf and controller-runtime, memory, idle cost, and time to Ready.

All three do the same on the same API server, which has no nodes: for each new report a status and a pod. A report is
handled when both are stored. No one writes events. The controller-runtime program (peers/controller-runtime) has its
client limits lifted and 16 workers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from kubernetes.aio.client import ApiClient

from benchmarks.report import Row
from k8sext import cluster
from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.request import ApiError, request
from k8sext.kube.resource import NAMESPACES, PODS, SERVICE_ACCOUNTS
from k8sext.operators.reconcile import REPORTS

HERE = Path(__file__).parent
MANIFESTS = HERE.parent / "manifests" / "operators"
OURS, KOPF, GO = "ours", "kopf", "controller-runtime"
AT_ONCE = 32
MANY = 10_000


def run(rounds: int) -> Iterator[Row]:
    """All of it; the three programs take turns."""
    with tempfile.TemporaryDirectory() as folder, private_api_server() as server:
        _prepare(server)
        peer = _build(Path(folder))
        programs = [OURS, KOPF, *([GO] if peer else [])]
        for count in (200, 2000):
            rates: dict[str, list[float]] = {name: [] for name in programs}
            for number in range(rounds):
                for name in programs:
                    namespace = f"{name}-{count}-{number}"
                    with _operator(server, name, namespace, peer):
                        rates[name].append(count / asyncio.run(_handle(server, namespace, count)))
            reach = {KOPF: "at least 3x", GO: "at least 1.2x"}
            for name in programs[1:]:
                yield Row(f"{count} reports at once", "reports/s", rates[OURS], name, rates[name], reach[name])
        yield from _many(server)
    yield from _ready(rounds)


def _prepare(server: PrivateApiServer) -> None:
    server.kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))
    server.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")


def _build(folder: Path) -> Path | None:
    if not shutil.which("go"):
        print("There is no go on PATH, so controller-runtime is left out.")
        return None
    source = HERE / "peers" / "controller-runtime"
    subprocess.run(["go", "build", "-o", str(folder / "peer"), "."], cwd=source, check=True)
    return folder / "peer"


def _command(server: PrivateApiServer, name: str, namespace: str, peer: Path | None) -> Sequence[str]:
    match name:
        case "kopf":
            return [
                sys.executable,
                "-m",
                "kopf",
                "run",
                "-q",
                "-m",
                "k8sext.operators.kopf_operator",
                "--namespace",
                namespace,
            ]
        case "controller-runtime":
            return [str(peer), str(server.kubeconfig), namespace]
    options = [
        "--kubeconfig",
        str(server.kubeconfig),
        "--namespace",
        namespace,
        "--port",
        "-1",
        "--log-level",
        "WARNING",
    ]
    return [sys.executable, "-m", "k8sext.operators", *options, "--no-events"]


@contextmanager
def _operator(
    server: PrivateApiServer, name: str, namespace: str, peer: Path | None = None
) -> Iterator[psutil.Process]:
    """Run one of the programs in a namespace of its own; the block begins when it has handled a first report."""
    asyncio.run(_namespace(server, namespace))
    command = _command(server, name, namespace, peer)
    environment = os.environ | {"KUBECONFIG": str(server.kubeconfig)}
    with (server.folder / f"{namespace}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        asyncio.run(_handle(server, namespace, 1, prefix="warm-up"))
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()
        asyncio.run(_clear(server, namespace))


async def _namespace(server: PrivateApiServer, namespace: str) -> None:
    client = await from_kubeconfig(server.kubeconfig)
    await request(client, "POST", NAMESPACES.collection(), {"metadata": {"name": namespace}})
    for account in ("default", "weather-collector"):
        path = SERVICE_ACCOUNTS.collection(namespace)
        await request(client, "POST", path, {"metadata": {"name": account}})
    await client.close()


async def _clear(server: PrivateApiServer, namespace: str) -> None:
    client = await from_kubeconfig(server.kubeconfig)
    left = [REPORTS.collection(namespace), PODS.collection(namespace)]
    while left:
        try:
            await request(client, "DELETE", left[0], query={"gracePeriodSeconds": 0}, timeout=300)
            left.pop(0)
        except ApiError as error:
            if error.code != 504:  # after a minute the server wants to be asked again for the rest
                raise
    await client.close()


async def _handle(server: PrivateApiServer, namespace: str, count: int, prefix: str = "report") -> float:
    """Create reports, and return the seconds until all have a status and a pod."""
    client = await from_kubeconfig(server.kubeconfig)
    before = await _count(client, namespace)
    numbers = iter(range(count))

    async def create() -> None:
        for number in numbers:
            body = {
                "apiVersion": "k8s.packt.com/v1",
                "kind": "WeatherReport",
                "metadata": {"name": f"{prefix}-{number}"},
            }
            await request(client, "POST", REPORTS.collection(namespace), body | {"spec": {"city": "Oslo", "days": 1}})

    began = time.perf_counter()
    await asyncio.gather(*(create() for _ in range(min(AT_ONCE, count))))
    while await _count(client, namespace) < before + count:  # each writes the status first, and then the pod
        await asyncio.sleep(0.02)
        if time.perf_counter() - began > 600:
            raise TimeoutError(f"not handled within 600 s; see {server.folder}")
    seconds = time.perf_counter() - began
    await client.close()
    return seconds


async def _count(client: ApiClient, namespace: str) -> int:
    """How many pods there are, without reading them all."""
    answer = await request(client, "GET", PODS.collection(namespace), query={"limit": 1})
    return len(answer["items"]) + answer["metadata"].get("remainingItemCount", 0)


def _many(server: PrivateApiServer) -> Iterator[Row]:
    """Memory with very many reports, and what a new one costs us beside them (the rate would show what it costs the API
    server)."""
    with _operator(server, OURS, "many") as process:
        few = [_cost(server, process, f"few-{number}") for number in range(5)]
        asyncio.run(_handle(server, "many", MANY, "many"))
        yield Row(f"memory at {MANY} reports", "MB", [process.memory_info().rss / 1e6])
        more = [_cost(server, process, f"more-{number}") for number in range(5)]
        yield Row(f"CPU for a report beside {MANY} idle ones", "ms", more, "beside none", few, "the same")


def _cost(server: PrivateApiServer, process: psutil.Process, prefix: str, count: int = 200) -> float:
    """The processor time of ours for one report, in milliseconds."""
    before = sum(process.cpu_times()[:2])
    asyncio.run(_handle(server, "many", count, prefix))
    return (sum(process.cpu_times()[:2]) - before) / count * 1000


def _ready(rounds: int) -> Iterator[Row]:
    """From `kubectl apply` to Ready, with a real pod on the embedded cluster."""
    with cluster.up("bench") as found:
        found.kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))
        found.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")
        found.kubectl("apply", "-f", str(MANIFESTS / "operator.yaml"))
        found.kubectl("rollout", "status", "deployment/k8s-operator-example", "--timeout=120s")
        times = []
        for number in range(max(rounds, 5)):
            manifest = (MANIFESTS / "cr.yaml").read_text().replace("amsterdam-daily", f"amsterdam-{number}")
            began = time.perf_counter()
            found.kubectl("apply", "-f", "-", input=manifest)
            found.kubectl("wait", "--for=condition=Ready", f"wr/amsterdam-{number}", "--timeout=120s")
            times.append(time.perf_counter() - began)
        yield Row("kubectl apply to Ready", "s", [statistics.median(times)])
