"""Admission: creates per second and their latency without a webhook, with ours, with the same in Go, and with a policy
in CEL.

All four run on the same API server and take turns. The webhooks are processes of their own that refuse the same
ConfigMaps; the peer (peers/webhook) is written on Go's net/http. `python -m benchmarks.admission` alone serves ours,
for this benchmark.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.report import Row
from k8sext.admission import AdmissionRequest, Denied, serve, validating
from k8sext.admission.registration import ca_bundle, configuration
from k8sext.cluster import ClusterError, PrivateApiServer, private_api_server
from k8sext.cluster.ports import choose
from k8sext.kube import certificates as x509
from k8sext.kube.objects import Json

NAMESPACE = "bench"
CREATES, AT_ONCE = 1500, 32
NONE, OURS, GO, CEL = "no webhook", "ours", "Go", "CEL"


@validating("configmaps", on=["CREATE"], namespaces=[NAMESPACE], timeout=5)
def no_forbidden_key(config_map: Json, _request: AdmissionRequest) -> None:
    """Refuse a ConfigMap that holds the key `forbidden`."""
    if "forbidden" in (config_map.get("data") or {}):
        raise Denied("the key forbidden is taken")


@dataclass
class Runs:
    """The results of one way, a value a round."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def run(rounds: int) -> Iterator[Row]:
    """Ours beside each of the others; latencies in milliseconds, as the client saw them."""
    with tempfile.TemporaryDirectory() as folder, private_api_server() as server:
        server.kubectl("create", "namespace", NAMESPACE)
        ways: dict[str, Callable[[], AbstractContextManager[object]]] = {
            NONE: nullcontext,
            OURS: lambda: _ours(server),
            CEL: lambda: _cel(server),
        }
        if program := _build(Path(folder)):
            ways[GO] = lambda: _go(server, program, Path(folder))
        results = {name: Runs() for name in ways}
        asyncio.run(_create_all(server, CREATES))  # the first requests of a fresh API server are slow
        for _ in range(rounds):
            for name, way in ways.items():
                with way():
                    if name != NONE:
                        _wait_until_it_refuses(server)
                    seconds, took = asyncio.run(_create_all(server, CREATES))
                    results[name].rates.append(CREATES / seconds)
                    results[name].p50.append(statistics.median(took) * 1000)
                    results[name].p99.append(statistics.quantiles(took, n=100)[98] * 1000)
    yield from _rows(results)


def _rows(results: dict[str, Runs]) -> Iterator[Row]:
    ours = results[OURS]
    for name, others in results.items():
        if name != OURS:
            reach = ("at least 1x", "at most 1.2x") if name == GO else ("", "")
            yield Row(f"creates, {AT_ONCE} at once", "/s", ours.rates, name, others.rates, reach[0])
            yield Row("p50 of a create", "ms", ours.p50, name, others.p50)
            yield Row("p99 of a create", "ms", ours.p99, name, others.p99, reach[1])
    for name in (OURS, CEL, *([GO] if GO in results else [])):
        for what in ("p50", "p99"):
            pairs = zip(getattr(results[name], what), getattr(results[NONE], what), strict=True)
            yield Row(f"{what} added to a create by {name}", "ms", [with_it - without for with_it, without in pairs])


async def _create_all(server: PrivateApiServer, count: int) -> tuple[float, list[float]]:
    """Create so many ConfigMaps and remove them; returns the seconds of all and of each."""
    context = ssl.create_default_context(cafile=str(server.folder / "pki" / "ca.crt"))
    context.load_cert_chain(server.folder / "pki" / "admin.crt", server.folder / "pki" / "admin.key")
    path = f"{server.server}/api/v1/namespaces/{NAMESPACE}/configmaps"
    took: list[float] = []
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(ssl=context, limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:

        async def create_some() -> None:
            for number in numbers:
                body = json.dumps({"metadata": {"name": f"c-{number}"}, "data": {"key": "value" * 50}})
                began = time.perf_counter()
                async with session.post(path, data=body) as response:
                    await response.read()
                took.append(time.perf_counter() - began)
                if response.status != 201:
                    raise RuntimeError(f"a create was answered {response.status}: {await response.text()}")

        began = time.perf_counter()
        await asyncio.gather(*[create_some() for _ in range(AT_ONCE)])
        seconds = time.perf_counter() - began
        async with session.delete(path) as response:
            response.raise_for_status()
    return seconds, took


def _wait_until_it_refuses(server: PrivateApiServer) -> None:
    arguments = ["create", "configmap", "trial", "--from-literal=forbidden=x", "-n", NAMESPACE, "--dry-run=server"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            server.kubectl(*arguments)
        except ClusterError as error:
            if "the key forbidden is taken" in str(error):
                return
    raise RuntimeError("nothing was refused within 30 s")


@contextmanager
def _ours(server: PrivateApiServer) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.admission", str(server.kubeconfig)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("our webhook did not start")
    yield
    process.communicate("\n")


@contextmanager
def _go(server: PrivateApiServer, program: Path, folder: Path) -> Iterator[None]:
    authority = x509.authority("bench")
    x509.issue(authority, "webhook", hosts=["127.0.0.1"]).save(folder, "webhook")
    address = f"127.0.0.1:{choose(('webhook',), {})['webhook']}"
    process = subprocess.Popen([str(program), address, str(folder / "webhook.crt"), str(folder / "webhook.key")])
    client_config = {"url": f"https://{address}{no_forbidden_key.path}", "caBundle": ca_bundle(authority.certificate)}
    with _applied(server, configuration(no_forbidden_key, client_config)):
        yield
    process.terminate()
    process.wait()


@contextmanager
def _cel(server: PrivateApiServer) -> Iterator[None]:
    kind, name = "ValidatingAdmissionPolicy", {"name": no_forbidden_key.full_name}
    rules = list(no_forbidden_key.rules)
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    version = "admissionregistration.k8s.io/v1"
    rule = {
        "expression": "!has(object.data) || !('forbidden' in object.data)",
        "message": "the key forbidden is taken",
    }
    policy = {
        "apiVersion": version,
        "kind": kind,
        "metadata": name,
        "spec": {
            "matchConstraints": {"resourceRules": rules, "namespaceSelector": selector},
            "validations": [rule],
        },
    }
    binding = {
        "apiVersion": version,
        "kind": f"{kind}Binding",
        "metadata": name,
        "spec": {"policyName": name["name"], "validationActions": ["Deny"]},
    }
    with _applied(server, policy), _applied(server, binding):
        yield


@contextmanager
def _applied(server: PrivateApiServer, item: Json) -> Iterator[None]:
    text = json.dumps(item)
    server.kubectl("create", "-f", "-", input=text)
    try:
        yield
    finally:
        server.kubectl("delete", "-f", "-", input=text)
        time.sleep(1)  # the API server learns of it by a watch


def _build(folder: Path) -> Path | None:
    if not shutil.which("go"):
        print("There is no go on PATH, so the webhook in Go is left out.")
        return None
    source = Path(__file__).parent / "peers" / "webhook"
    subprocess.run(["go", "build", "-o", str(folder / "peer"), "."], cwd=source, check=True)
    return folder / "peer"


if __name__ == "__main__":
    with serve(no_forbidden_key, kubeconfig=sys.argv[1]):
        print("ready", flush=True)
        sys.stdin.readline()
