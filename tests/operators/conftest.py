"""A namespace with the operator's accounts on the shared cluster, and a private API server with pretended nodes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.client import ApiClient

from k8sext.cluster import Cluster, PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.informer import Informer
from k8sext.kube.objects import Json
from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import PODS
from k8sext.operators.collect import collect
from k8sext.operators.controller import Controller
from k8sext.operators.plan import GENERATION, SELECTOR
from k8sext.operators.reconcile import REPORTS
from tests.conftest import until_served
from tests.kube.servers import end_restarted
from tests.support.eventually import eventually_async

MANIFESTS = Path(__file__).parents[2] / "manifests" / "operators"


def documents(*left_out: str) -> str:
    """The operator's manifest without the kinds named."""
    found = yaml.safe_load_all((MANIFESTS / "operator.yaml").read_text())
    return yaml.safe_dump_all([document for document in found if document["kind"] not in left_out])


@pytest.fixture(scope="module")
def crd(cluster: Cluster) -> None:
    """The kind, for the tests of one file: those of another, which may run in between, take it away again."""
    cluster.kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")
    until_served(cluster, "apis/k8s.packt.com/v1/weatherreports")


@pytest.fixture
def namespace(cluster: Cluster, crd: None) -> Iterator[str]:
    """A namespace with the accounts of operator and collector, but no operator."""
    name = f"weather-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("apply", "-n", name, "-f", "-", input=documents("Deployment"))
    yield name
    # kopf was killed, and may have left its finalizer: the report would never go, nor the CRD that a later test deletes
    for report in cluster.kubectl("get", "wr", "-n", name, "-o", "name").split():
        cluster.kubectl("patch", report, "-n", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    client = await from_kubeconfig(cluster.kubeconfig)
    yield client
    await client.close()


Start = Callable[[Cluster, ApiClient, str], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def by_hand(cluster: Cluster, client: ApiClient, namespace: str) -> AsyncIterator[None]:
    """The controller of this room works for the length of a block."""
    controller = Controller(client, namespace)
    running = asyncio.create_task(controller.run(workers=4))
    yield
    controller.stop()
    await asyncio.wait_for(running, 30)


@asynccontextmanager
async def by_kopf(cluster: Cluster, client: ApiClient, namespace: str) -> AsyncIterator[None]:
    """The operator written with kopf works for the length of a block; then it is killed."""
    command = [sys.executable, "-m", "kopf", "run", "-m", "k8sext.operators.kopf_operator", "--namespace", namespace]
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    silent = subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=silent, stderr=silent)
    try:
        yield
        assert process.returncode is None, "kopf ended on its own"
    finally:
        process.kill()
        await process.wait()


class Reports:
    """What a user does with the reports of a namespace."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self.client, self.namespace, self.path = client, namespace, REPORTS.collection(namespace)

    async def create(self, name: str, city: str = "Amsterdam", days: int = 1, **spec: Any) -> Json:
        body = {"apiVersion": "k8s.packt.com/v1", "kind": "WeatherReport", "metadata": {"name": name}}
        return await request(self.client, "POST", self.path, body | {"spec": {"city": city, "days": days, **spec}})

    async def change(self, name: str, **spec: Any) -> Json:
        return await request(
            self.client, "PATCH", REPORTS.path(name, self.namespace), {"spec": spec}, content_type=MERGE_PATCH
        )

    async def delete(self, name: str) -> None:
        await request(self.client, "DELETE", REPORTS.path(name, self.namespace))

    async def get(self, name: str) -> Json:
        return await request(self.client, "GET", REPORTS.path(name, self.namespace))

    async def all(self) -> list[Json]:
        return (await request(self.client, "GET", self.path))["items"]

    async def pods(self) -> list[Json]:
        return (await request(self.client, "GET", PODS.collection(self.namespace), query={"labelSelector": SELECTOR}))[
            "items"
        ]

    async def until(self, name: str, condition: Callable[[Json], Any]) -> Json:
        """Wait until a report is as it should be, and return it."""

        async def look() -> Json:
            found = await self.get(name)
            assert condition(found), found.get("status")
            return found

        return await eventually_async(look)


def ready(report: Json) -> bool:
    """Whether a report is done, for the spec it has now."""
    status = report.get("status", {})
    observed = status.get("observedGeneration") == report["metadata"]["generation"]
    return observed and status["state"] == "Ready" and len(status["report"]) == report["spec"]["days"]


def reason(report: Json) -> str:
    """Why a report is, or is not, ready."""
    return next((c["reason"] for c in report.get("status", {}).get("conditions", ())), "")


@pytest.fixture
async def reports(client: ApiClient, namespace: str) -> Reports:
    return Reports(client, namespace)


@pytest.fixture(scope="module")
def server(programs: dict[str, Path]) -> Iterator[PrivateApiServer]:
    """A private API server that knows reports. It has no controllers and no nodes of its own."""
    with private_api_server() as started:
        started.kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))
        started.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")
        yield started
        end_restarted()


class PretendedNode:
    """Runs the collector of every pod within this process, once, and counts which generation of which report was
    collected.
    """

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self.started: Counter[tuple[str, str]] = Counter()
        self.pods = Informer(client, PODS.collection(namespace), query={"labelSelector": SELECTOR})
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> PretendedNode:
        self.pods.on_change(self._start)
        self._follow = asyncio.create_task(self.pods.run())
        await eventually_async(self.pods.synced.is_set)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._follow, *self._tasks):
            task.cancel()
        await asyncio.gather(self._follow, *self._tasks, return_exceptions=True)

    def _start(self, change: str, pod: Json) -> None:
        if change == "ADDED" and pod["status"].get("phase") == "Pending":
            metadata = pod["metadata"]
            self.started[metadata["ownerReferences"][0]["name"], metadata["annotations"][GENERATION]] += 1
            task = asyncio.create_task(self._run(metadata))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, metadata: Json) -> None:
        name, generation = metadata["ownerReferences"][0]["name"], int(metadata["annotations"][GENERATION])
        await self._stubbornly(lambda: collect(self.client, self.namespace, name, generation))
        path = PODS.path(metadata["name"], self.namespace, "status")
        body = {"status": {"phase": "Succeeded"}}
        await self._stubbornly(lambda: request(self.client, "PATCH", path, body, content_type=MERGE_PATCH))

    async def _stubbornly(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
                return
            except ApiError as error:
                if error.code == 404:
                    return
            except Unreachable:
                pass
            await asyncio.sleep(0.05)
