"""Clients: the plugins beside kubectl, the generator, and a list of 1000 pods as JSON and as protobuf."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.report import Row
from k8sext import cluster

PODS = 1000
PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"


def run(rounds: int) -> Iterator[Row]:
    """All of it, on one cluster; 1000 pods wait for a scheduler that does not exist."""
    with cluster.up("bench-clients") as found:
        environment = {**os.environ, **cluster.environment(found)}
        yield from _plugins(environment, rounds)
        yield from _generator(environment, rounds)
        asyncio.run(_create(found.kubeconfig, PODS))
        yield from _listing(environment, rounds)
        yield from _encodings(found.kubeconfig, rounds)


def _plugins(environment: dict[str, str], rounds: int) -> Iterator[Row]:
    for name in ("ctx-auto", "uptime", "exec-as"):
        ours, peer = _both(environment, ("kubectl", name, "--help"), ("kubectl", "get", "--help"), rounds)
        yield Row(f"kubectl {name} --help", "s", ours, "kubectl get --help", peer, "at most 0.3 s")
    ours, peer = _both(environment, ("kubectl", "uptime", "-A"), ("kubectl", "get", "pods", "-A"), rounds)
    yield Row("kubectl uptime -A, no pods", "s", ours, "kubectl get pods -A", peer, "at most 1 s")


def _listing(environment: dict[str, str], rounds: int) -> Iterator[Row]:
    ours, peer = _both(environment, ("kubectl", "uptime", "-A"), ("kubectl", "get", "pods", "-A", "-o", "json"), rounds)
    yield Row(f"kubectl uptime -A, {PODS} pods", "s", ours, "kubectl get pods -A -o json", peer, "at most 1 s")


def _generator(environment: dict[str, str], rounds: int) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        for group in ("apps", "core"):
            command = (
                "k8sext",
                "generate",
                "client",
                "--from-cluster",
                "--group",
                group,
                "--out",
                str(Path(folder) / group),
            )
            yield Row(f"generate a client for {group}", "s", [_command(environment, command) for _ in range(rounds)])


def _both(
    environment: dict[str, str], ours: Sequence[str], peer: Sequence[str], rounds: int
) -> tuple[list[float], list[float]]:
    pairs = [(_command(environment, ours), _command(environment, peer)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _command(environment: dict[str, str], command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


async def _create(kubeconfig: Path, count: int) -> None:
    from k8sext.kube.connect import from_kubeconfig
    from k8sext.kube.request import request

    container = {
        "name": "main",
        "image": "localhost/none:1",
        "command": ["sleep", "3600"],
        "env": [{"name": "A", "value": "b"}],
    }
    client = await from_kubeconfig(kubeconfig, connections=8)
    spec = {"schedulerName": "nobody", "containers": [container]}
    pods = [
        {"metadata": {"name": f"pod-{number:04}", "labels": {"app": "many"}}, "spec": spec} for number in range(count)
    ]
    await asyncio.gather(
        *(request(client, "POST", "/api/v1/namespaces/default/pods", pod, timeout=120) for pod in pods)
    )
    await client.close()


def _encodings(kubeconfig: Path, rounds: int) -> Iterator[Row]:
    """The list as bytes from the server, and then what each decoder makes of the bytes."""
    as_json, json_times = asyncio.run(_fetch(kubeconfig, "application/json", rounds))
    as_protobuf, protobuf_times = asyncio.run(_fetch(kubeconfig, PROTOBUF, rounds))
    yield Row(f"list of {PODS} pods, protobuf, size", "kB", [len(as_protobuf) / 1e3], "JSON", [len(as_json) / 1e3])
    yield Row(f"list of {PODS} pods, protobuf, fetched", "s", protobuf_times, "JSON", json_times)
    message = _message()
    names = [item["metadata"]["name"] for item in json.loads(as_json)["items"]]
    assert names == _names_in_protobuf(message, as_protobuf)
    ours = _times(lambda: _names_in_protobuf(message, as_protobuf), rounds)
    peer = _times(lambda: [item["metadata"]["name"] for item in json.loads(as_json)["items"]], rounds)
    yield Row("the names out of the bytes, protobuf (names alone are decoded)", "s", ours, "json.loads", peer)


async def _fetch(kubeconfig: Path, accept: str, rounds: int) -> tuple[bytes, list[float]]:
    from k8sext.kube.connect import from_kubeconfig

    client = await from_kubeconfig(kubeconfig)
    times, body = [], b""
    for _ in range(rounds):
        method, url, headers, _, _ = await client.param_serialize(
            "GET", "/api/v1/namespaces/default/pods", header_params={"Accept": accept}, auth_settings=["BearerToken"]
        )
        began = time.perf_counter()
        answer: Any = await client.call_api(method, url, headers)
        body = await answer.response.read()
        times.append(time.perf_counter() - began)
    await client.close()
    return body, times


def _times(work: Callable[[], object], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def _message() -> Any:
    """The few messages that hold the names: runtime.Unknown, PodList, Pod and ObjectMeta, with their official field
    numbers."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="pods.proto", package="bench", syntax="proto2")
    fields = {
        "Unknown": [("raw", 2, "bytes", 1)],
        "PodList": [("items", 2, "Pod", 3)],
        "Pod": [("metadata", 1, "ObjectMeta", 1)],
        "ObjectMeta": [("name", 1, "string", 1)],
    }
    for name, parts in fields.items():
        message = file.message_type.add(name=name)
        for part, number, kind, label in parts:
            field = message.field.add(name=part, number=number, label=label)  # pyright: ignore[reportArgumentType]
            scalar = {"bytes": field.TYPE_BYTES, "string": field.TYPE_STRING}.get(kind)
            field.type = scalar or field.TYPE_MESSAGE
            if scalar is None:
                field.type_name = f".bench.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = message_factory.GetMessageClassesForFiles(["pods.proto"], pool)
    return found["bench.Unknown"], found["bench.PodList"]


def _names_in_protobuf(message: Any, body: bytes) -> list[str]:
    unknown, pod_list = message
    raw = unknown.FromString(body.removeprefix(MAGIC)).raw
    return [pod.metadata.name for pod in pod_list.FromString(raw).items]
