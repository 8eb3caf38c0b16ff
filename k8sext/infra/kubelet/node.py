"""The node itself: register it, say what it is, say that it lives.

Two heartbeats, as in Kubernetes: a small Lease every few seconds, and the whole status only when it has changed (or five minutes are over).
"""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k8sext.infra.kubelet.pod import Json
from k8sext.kube.events import timestamp
from k8sext.kube.request import MERGE_PATCH, STRATEGIC_MERGE_PATCH, ApiError, Unreachable, request
from k8sext.versions import KUBERNETES

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)


RENEW_SECONDS, LEASE_SECONDS = 4.0, 40
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
class NodeSpec:
    """What nodes.json wants of a node."""

    name: str
    index: int
    state: str = "running"
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    capacity: dict[str, str] = field(default_factory=dict)

    @property
    def ip(self) -> str:
        """The first address of its pods' network is the node's own."""
        return f"10.244.{self.index}.1"

    @property
    def pod_cidr(self) -> str:
        return f"10.244.{self.index}.0/24"


@dataclass(frozen=True)
class Readiness:
    """Can pods run here, and if not, why not?"""

    ready: bool
    message: str = ""


def node_object(spec: NodeSpec, versions: Any, readiness: Readiness, now: str, with_address: bool = True) -> Json:
    """The Node as it registers, status included. `versions` is the runtime's VersionResponse, None for a node without a runtime."""
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
    """The labels of a node. Of those in kubernetes.io only some may be set by a kubelet (NodeRestriction); an admin sets the others."""
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
    spec: NodeSpec, versions: Any, readiness: Readiness, now: str, old: Json, with_address: bool = True
) -> Json:
    """The status of a node. `old` is the last one: a condition that stays keeps the time it began."""
    capacity = {name: str(amount) for name, amount in spec.capacity.items()}
    runtime = f"{versions.runtime_name}://{versions.runtime_version}" if versions else "none://0"
    before = {condition["type"]: condition for condition in old.get("conditions") or []}
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
        "conditions": [_condition(kind, *finding, before.get(kind, {}), now) for kind, finding in findings.items()],
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
            "addresses": [{"type": "InternalIP", "address": spec.ip}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        }
    return status


def _condition(kind: str, status: str, reason: str, message: str, old: Json, now: str) -> Json:
    since = old["lastTransitionTime"] if old.get("status") == status else now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    }


async def register(client: ApiClient, node: Json) -> Json:
    """Create the Node, or, if it exists already, bring its labels and status up to date. Tries until it succeeds."""
    path = f"/api/v1/nodes/{node['metadata']['name']}"
    while True:
        try:
            return await request(client, "POST", "/api/v1/nodes", node)
        except ApiError as error:
            if error.code != 409:
                log.warning("%s cannot register: %s", node["metadata"]["name"], error)
                await asyncio.sleep(1)
                continue
        except Unreachable as error:
            log.warning("%s cannot register: %s", node["metadata"]["name"], error)
            await asyncio.sleep(0.2)
            continue
        try:
            await request(
                client, "PATCH", path, {"metadata": {"labels": node["metadata"]["labels"]}}, content_type=MERGE_PATCH
            )
            body = {"status": node["status"]}
            return await request(client, "PATCH", f"{path}/status", body, content_type=STRATEGIC_MERGE_PATCH)
        except (ApiError, Unreachable) as error:
            log.warning("%s cannot be brought up to date: %s", node["metadata"]["name"], error)
            await asyncio.sleep(0.5)


async def report_status(
    client: ApiClient, spec: NodeSpec, versions: Any, check: Callable[[], Awaitable[Readiness]], registered: Json
) -> None:
    """Look every few seconds and report what has changed. Runs until cancelled."""
    told, told_at = registered.get("status", {}), time.monotonic()
    known: Readiness | None = None
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        readiness = await check()
        if readiness == known and time.monotonic() - told_at < REPORT_SECONDS:
            continue
        status = node_status(spec, versions, readiness, timestamp(), told)
        try:
            path = f"/api/v1/nodes/{spec.name}/status"
            await request(client, "PATCH", path, {"status": status}, content_type=STRATEGIC_MERGE_PATCH)
        except ApiError as error:
            if error.code == 404:  # deleted under us: nodes that live come back
                await register(client, node_object(spec, versions, readiness, timestamp()))
            else:
                log.warning("the status of node %s: %s", spec.name, error)
        except Unreachable as error:
            log.warning("the status of node %s: %s", spec.name, error)
        else:
            told, told_at, known = status, time.monotonic(), readiness


async def renew_lease(client: ApiClient, name: str, renew_seconds: float = RENEW_SECONDS) -> None:
    """Renew the node's lease again and again. Runs until cancelled."""
    while True:
        began = time.monotonic()
        try:
            await renew_once(client, name)
        except (ApiError, Unreachable) as error:
            log.warning("the lease of node %s: %s", name, error)
        await asyncio.sleep(max(0.0, renew_seconds - (time.monotonic() - began)))


async def renew_once(client: ApiClient, name: str) -> None:
    """Renew the lease, or make it. Raises ApiError, Unreachable."""
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    spec = {
        "holderIdentity": name,
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    try:
        await request(client, "PATCH", f"{leases}/{name}", {"spec": spec}, content_type=MERGE_PATCH, timeout=5)
    except ApiError as error:
        if error.code != 404:
            raise
        await request(client, "POST", leases, {"metadata": {"name": name}, "spec": spec}, timeout=5)
