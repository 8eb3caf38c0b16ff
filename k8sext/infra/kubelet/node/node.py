"""The Node object: register the node, and tell its status when it has changed (or five minutes are over).

It is one of two heartbeats, as in Kubernetes; the other and smaller one is the `lease`.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8sext.infra.addresses import KUBELET_PORT
from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.shown import covers
from k8sext.infra.nodes import NodeSpec
from k8sext.kube.objects import Json, condition, condition_of, timestamp
from k8sext.kube.request import MERGE_PATCH, STRATEGIC_MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import NODES
from k8sext.versions import KUBERNETES

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)


STATUS_SECONDS, REPORT_SECONDS = 10.0, 300.0

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
OWN_LABELS = (
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
)


@dataclass(frozen=True)
class Readiness:
    """Can pods run here, and if not, why not?"""

    ready: bool
    message: str = ""


def node_object(
    spec: NodeSpec, versions: cri.VersionResponse | None, readiness: Readiness, now: str, with_address: bool = True
) -> Json:
    """The Node as it registers, status included. `versions` is the runtime's VersionResponse, None for a node
    without a runtime."""
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": spec.name, "labels": labels(spec)},
        "spec": {"taints": spec.taints},
        "status": node_status(spec, versions, readiness, now, {}, with_address),
    }
    if with_address:
        node["spec"] |= {"podCIDR": spec.pod_cidr, "podCIDRs": [spec.pod_cidr]}
    return node


def labels(spec: NodeSpec) -> dict[str, str]:
    """The labels of a node. Of those in kubernetes.io only some may be set by a kubelet (NodeRestriction); an admin
    sets the others."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    own = {"kubernetes.io/hostname": spec.name, "kubernetes.io/arch": architecture, "kubernetes.io/os": "linux"}
    return {key: value for key, value in (own | spec.labels).items() if _may_set(key)}


def _may_set(label: str) -> bool:
    domain = label.rpartition("/")[0]
    reserved = any(domain == end or domain.endswith(f".{end}") for end in ("kubernetes.io", "k8s.io"))
    return (
        not reserved or label in OWN_LABELS or any(domain == own or domain.endswith(f".{own}") for own in OWN_DOMAINS)
    )


def node_status(
    spec: NodeSpec,
    versions: cri.VersionResponse | None,
    readiness: Readiness,
    now: str,
    old: Json,
    with_address: bool = True,
) -> Json:
    """The status of a node. `old` is the last one: a condition that stays keeps the time it began."""
    capacity = {name: str(amount) for name, amount in spec.capacity.items()}
    runtime = f"{versions.runtime_name}://{versions.runtime_version}" if versions else "none://0"
    ready = ("True", "KubeletReady", "kubelet is posting ready status")
    not_ready = ("False", "KubeletNotReady", readiness.message)
    findings: dict[str, tuple[str, str, str]] = {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ready if readiness.ready else not_ready,
    }
    status: Json = {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [_condition(kind, *finding, old, now) for kind, finding in findings.items()],
        "nodeInfo": {
            "machineID": spec.name,
            "systemUUID": spec.name,
            "bootID": spec.name,
            "kernelVersion": platform.release(),
            "osImage": "k8sext",
            "operatingSystem": "linux",
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "kubeletVersion": KUBERNETES,
            "kubeProxyVersion": "",
            "containerRuntimeVersion": runtime,
        },
        "declaredFeatures": ["ExtendWebSocketsToKubelet"],
    }
    if with_address:
        status |= {
            "addresses": [{"type": "InternalIP", "address": spec.ip}, {"type": "Hostname", "address": spec.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        }
    return status


def _condition(kind: str, status: str, reason: str, message: str, old: Json, now: str) -> Json:
    before = condition_of({"status": old}, kind)
    return condition(kind, status, before, now=now, reason=reason, message=message, lastHeartbeatTime=now)


async def register(client: ApiClient, node: Json) -> Json:
    """Create the Node, or, if it exists already, bring its labels and status up to date. Tries until it succeeds."""
    name = node["metadata"]["name"]
    while True:
        try:
            return await request(client, "POST", NODES.collection(), node)
        except ApiError as error:
            if error.code != 409:
                log.warning("%s cannot register: %s", name, error)
                await asyncio.sleep(1)
                continue
        except Unreachable as error:
            log.warning("%s cannot register: %s", name, error)
            await asyncio.sleep(0.2)
            continue
        try:
            labels = {"metadata": {"labels": node["metadata"]["labels"]}}
            await request(client, "PATCH", NODES.path(name), labels, content_type=MERGE_PATCH)
            return await _patch_status(client, name, node["status"])
        except (ApiError, Unreachable) as error:
            log.warning("%s cannot be brought up to date: %s", name, error)
            await asyncio.sleep(0.5)


async def report_status(
    client: ApiClient,
    spec: NodeSpec,
    versions: cri.VersionResponse | None,
    check: Callable[[], Awaitable[Readiness]],
) -> None:
    """Every few seconds look at the node as the API server shows it, and put right what it does not show. Runs until
    cancelled."""
    told_at = time.monotonic()
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        readiness = await check()
        try:
            shown = await request(client, "GET", NODES.path(spec.name), query={"resourceVersion": "0"})
            status = node_status(spec, versions, readiness, timestamp(), shown.get("status", {}))
            if _is_shown(shown, status) and time.monotonic() - told_at < REPORT_SECONDS:
                continue
            await _patch_status(client, spec.name, status)
        except ApiError as error:
            if error.code != 404:
                log.warning("the status of node %s: %s", spec.name, error)
                continue
            # deleted under us: nodes that live come back
            await register(client, node_object(spec, versions, readiness, timestamp()))
        except Unreachable as error:
            log.warning("the status of node %s: %s", spec.name, error)
            continue
        told_at = time.monotonic()


def _is_shown(node: Json, status: Json) -> bool:
    """Does the node show this status, but for the time of its last heartbeat?"""
    conditions = [one | {"lastHeartbeatTime": None} for one in status["conditions"]]
    return covers(node.get("status", {}), status | {"conditions": conditions})


async def _patch_status(client: ApiClient, name: str, status: Json) -> Json:
    path = NODES.path(name, subresource="status")
    return await request(client, "PATCH", path, {"status": status}, content_type=STRATEGIC_MERGE_PATCH)
