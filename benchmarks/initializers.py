"""Initializers: from the creation of a pod to its release with 0, 1 and 3 of them; what the proxy adds to GET, LIST and
WATCH.

The initializers, the proxy and the client are processes of their own; what is compared takes turns on one private API
server. `python -m benchmarks.initializers KUBECONFIG` alone switches initializers on, for this benchmark.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.report import Row
from k8sext.admission.initializers import initializer, start, switch_on
from k8sext.admission.initializers.model import GROUP, read
from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.objects import Json

NAMESPACE = "bench"
CHAINS = (0, 1, 3)
PODS, LISTED, GETS, REPLAYED = 50, 5000, 400, 2000
NAMES = tuple(f"{letter}.bench.{GROUP}" for letter in "abc")
PATH = f"/api/v1/namespaces/{NAMESPACE}"


def _labels(name: str):
    @initializer(name, "pods")
    def label(pod: Json, _client: Any) -> None:
        pod["metadata"].setdefault("labels", {})[name[0]] = "was-here"

    return label


def run(rounds: int) -> Iterator[Row]:
    """Times in milliseconds as a client saw them, medians of each round; the proxy beside the API server itself."""
    with tempfile.TemporaryDirectory() as folder, private_api_server() as server:
        server.kubectl("create", "namespace", NAMESPACE)
        server.kubectl("apply", "-f", str(Path(__file__).parents[1] / "manifests" / "initializers" / "crd.yaml"))
        server.kubectl("wait", "--for=condition=Established", f"crd/initializerconfigurations.{GROUP}")
        server.kubectl("create", "serviceaccount", "default", "-n", NAMESPACE)
        yield from _chains(server, rounds)
        yield from _overhead(server, rounds, Path(folder))


def _chains(server: PrivateApiServer, rounds: int) -> Iterator[Row]:
    took: dict[int, list[float]] = {length: [] for length in CHAINS}
    direct: list[float] = []
    for _ in range(rounds):
        direct.append(asyncio.run(_releases(_administrator(server))))
    with _switched_on(server):
        for _ in range(rounds):
            for length in CHAINS:
                with _configured(server, length):
                    took[length].append(asyncio.run(_releases(_administrator(server))))
    for length in CHAINS:
        what = f"pod created to released, {length} initializers"
        yield Row(what, "ms", took[length], "initializers off", direct)


async def _releases(connection: Connection) -> float:
    """The median time from a POST to the moment when a watch shows the pod without initializers."""
    released: dict[str, float] = {}
    async with connection.session() as session:
        query = {
            "watch": "true",
            "resourceVersion": (await _json(session, f"{PATH}/pods"))["metadata"]["resourceVersion"],
        }
        async with session.get(f"{PATH}/pods", params=query) as stream:

            async def watch() -> None:
                while line := await stream.content.readline():
                    item = json.loads(line)["object"]
                    if read(item) is None:
                        released.setdefault(item["metadata"]["name"], time.perf_counter())
                    if len(released) == PODS:
                        return

            watching = asyncio.create_task(watch())
            began = {}
            for number in range(PODS):
                name = f"pod-{number}"
                began[name] = time.perf_counter()
                async with session.post(f"{PATH}/pods", json=_pod(name)) as answer:
                    answer.raise_for_status()
                while name not in released:
                    await asyncio.sleep(0.001)
            await watching
        async with session.delete(f"{PATH}/pods", params={"gracePeriodSeconds": "0"}) as answer:
            answer.raise_for_status()
    return statistics.median(released[name] - began[name] for name in began) * 1000


def _pod(name: str) -> Json:
    spec = {"containers": [{"name": "web", "image": "localhost/none:1"}], "automountServiceAccountToken": False}
    return {"metadata": {"name": name}, "spec": spec}


def _overhead(server: PrivateApiServer, rounds: int, folder: Path) -> Iterator[Row]:
    direct = _user(server)
    asyncio.run(_fill(_administrator(server)))
    with _proxied(server, folder, direct) as proxied:
        ways: dict[str, Connection] = {"proxy": proxied, "API server": direct}
        results: dict[str, dict[str, list[float]]] = {way: {"GET": [], "LIST": [], "WATCH": []} for way in ways}
        for connection in ways.values():
            asyncio.run(_one_round(connection))  # the first requests of a fresh process are slow
        for _ in range(rounds):
            for way, connection in ways.items():
                for what, milliseconds in asyncio.run(_one_round(connection)).items():
                    results[way][what].append(milliseconds)
    ours, theirs = results["proxy"], results["API server"]
    added = [proxy - alone for proxy, alone in zip(ours["GET"], theirs["GET"], strict=True)]
    yield Row("GET of one object through the proxy", "ms", ours["GET"], "API server", theirs["GET"])
    yield Row("GET, added by the proxy", "ms", added, reach="at most 2 ms")
    yield Row(f"LIST of {LISTED}", "ms", ours["LIST"], "API server", theirs["LIST"], "at most 1.5x")
    yield Row(f"WATCH, {REPLAYED} events replayed", "ms", ours["WATCH"], "API server", theirs["WATCH"])


async def _one_round(connection: Connection) -> dict[str, float]:
    async with connection.session() as session:
        gets, lists = [], []
        for _ in range(GETS):
            gets.append(await _timed(session, f"{PATH}/configmaps/c-0"))
        for _ in range(3):
            lists.append(await _timed(session, f"{PATH}/configmaps"))
        version = (await _json(session, f"{PATH}/configmaps/c-{LISTED // 2}"))["metadata"]["resourceVersion"]
        began = time.perf_counter()
        async with session.get(f"{PATH}/configmaps", params={"watch": "true", "resourceVersion": version}) as stream:
            for _ in range(REPLAYED):
                line = await stream.content.readline()
                if not line.startswith(b'{"type":"ADDED"'):
                    raise RuntimeError(f"the watch says {line[:200]!r}")
        return {
            "GET": statistics.median(gets) * 1000,
            "LIST": statistics.median(lists) * 1000,
            "WATCH": (time.perf_counter() - began) * 1000,
        }


async def _timed(session: aiohttp.ClientSession, path: str) -> float:
    began = time.perf_counter()
    async with session.get(path) as answer:
        answer.raise_for_status()
        async for _ in answer.content.iter_any():
            pass
    return time.perf_counter() - began


async def _json(session: aiohttp.ClientSession, path: str) -> Json:
    async with session.get(path) as answer:
        return await answer.json()


async def _fill(connection: Connection) -> None:
    numbers = iter(range(LISTED))
    async with connection.session() as session:

        async def create_some() -> None:
            for number in numbers:
                body = {"metadata": {"name": f"c-{number}"}, "data": {"key": "value" * 100}}
                async with session.post(f"{PATH}/configmaps", json=body) as answer:
                    answer.raise_for_status()

        await asyncio.gather(*[create_some() for _ in range(16)])


@dataclass(frozen=True)
class Connection:
    """How to reach a server: with a client certificate, or with a token."""

    server: str
    trust: ssl.SSLContext
    token: str = ""

    def session(self) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connector = aiohttp.TCPConnector(ssl=self.trust)
        timeout = aiohttp.ClientTimeout(total=300)
        return aiohttp.ClientSession(
            self.server, connector=connector, headers=headers, timeout=timeout, read_bufsize=2**20
        )


def _administrator(server: PrivateApiServer) -> Connection:
    trust = ssl.create_default_context(cafile=str(server.folder / "pki" / "ca.crt"))
    trust.load_cert_chain(server.folder / "pki" / "admin.crt", server.folder / "pki" / "admin.key")
    return Connection(server.server, trust)


def _user(server: PrivateApiServer) -> Connection:
    """Who may read ConfigMaps. (The role `view` is empty here: a controller would have to fill it.)"""
    server.kubectl("create", "role", "read", "-n", NAMESPACE, "--verb=get,list,watch", "--resource=configmaps")
    account = f"--serviceaccount={NAMESPACE}:default"
    server.kubectl("create", "rolebinding", "read", "-n", NAMESPACE, "--role=read", account)
    token = server.kubectl("create", "token", "default", "-n", NAMESPACE).strip()
    return Connection(server.server, ssl.create_default_context(cafile=str(server.folder / "pki" / "ca.crt")), token)


@contextmanager
def _proxied(server: PrivateApiServer, folder: Path, user: Connection) -> Iterator[Connection]:
    file = folder / "proxied"
    command = [sys.executable, "-m", "k8sext.admission.initializers", "proxy"]
    command += [f"--kubeconfig={server.kubeconfig}", f"--write={file}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        cluster = json.loads(file.read_text())["clusters"][0]["cluster"]
        trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        yield Connection(cluster["server"], trust, user.token)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _switched_on(server: PrivateApiServer) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.initializers", str(server.kubeconfig)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the initializers did not start")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@contextmanager
def _configured(server: PrivateApiServer, length: int) -> Iterator[None]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    item = json.dumps(
        {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "InitializerConfiguration",
            "metadata": {"name": "bench"},
            "initializers": [{"name": name, "rules": [rule]} for name in NAMES[:length]],
        }
    )
    server.kubectl("create", "-f", "-", input=item)
    try:
        yield
    finally:
        server.kubectl("delete", "-f", "-", input=item)


def _serve(kubeconfig: str) -> None:
    initializers = [_labels(name) for name in NAMES]
    with (
        switch_on("pods", namespaces=[NAMESPACE], kubeconfig=kubeconfig),
        start(*initializers, namespaces=[NAMESPACE], kubeconfig=kubeconfig),
    ):
        print("ready", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    _serve(sys.argv[1])
