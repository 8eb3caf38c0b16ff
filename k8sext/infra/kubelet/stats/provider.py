"""What the node's pods use: the Summary that `/stats/summary` answers, and that metrics and eviction are read from.

The runtime counts processor time and memory, CSI drivers count their volumes, and the kubelet the rest of the disk.
Fields: k8s.io/kubelet/pkg/apis/stats/v1alpha1.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from k8sext.files import disk_usage
from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.kubelet.pod.podspec import uid
from k8sext.infra.kubelet.runtime.cache import NANOSECONDS, POD_UID, PodCache
from k8sext.infra.kubelet.runtime.client import RuntimeClient
from k8sext.infra.kubelet.volumes.claims import VolumeStats, claim_name, is_claimed
from k8sext.infra.kubelet.volumes.manager import Volumes
from k8sext.kube.objects import Json, parts, timestamp

RATE_SECONDS = 1.0
"""Processor time is compared with that of at least so long before."""


ClaimStats = Callable[[], Awaitable[list[VolumeStats]]]


class StatsProvider:
    """Measures the pods of one node, when asked."""

    def __init__(
        self, node: str, runtime: RuntimeClient, cache: PodCache, volumes: Volumes, claims: ClaimStats, root: Path
    ) -> None:
        """`claims` asks the drivers, also for the metrics; `root` lies on the disk that the node's pods share."""
        self._node, self._runtime, self._cache, self._volumes = node, runtime, cache, volumes
        self.claims, self._root = claims, root
        self._rates: dict[str, tuple[int, int, int | None]] = {}

    async def summary(self, pods: Iterable[Json]) -> Json:
        """The Summary of the node and of those of these pods that run. Raises RuntimeFailure."""
        now, claims = timestamp(), await self.claims()
        found = [pod for pod in await self.pods(pods, claims) if pod["containers"]]
        node = {
            "nodeName": self._node,
            "startTime": timestamp(time.time() - _uptime()),
            "cpu": _sum(now, (pod["cpu"] for pod in found)),
            "memory": _sum(now, (pod["memory"] for pod in found)),
            "fs": await asyncio.to_thread(_fs, now, self._root),
        }
        return {"node": node, "pods": found}

    async def pods(self, pods: Iterable[Json], claims: Sequence[VolumeStats] = ()) -> list[Json]:
        """The PodStats of each. Raises RuntimeFailure."""
        usage: defaultdict[str, list[cri.ContainerStats]] = defaultdict(list)
        for stats in await self._runtime.list_container_stats():
            usage[stats.attributes.labels[POD_UID]].append(stats)
        alive = {stats.attributes.id for each in usage.values() for stats in each}
        self._rates = {run: rate for run, rate in self._rates.items() if run in alive}
        return [await self._pod(pod, usage[uid(pod)], claims) for pod in pods]

    async def _pod(self, pod: Json, usage: list[cri.ContainerStats], claims: Sequence[VolumeStats]) -> Json:
        now, metadata = timestamp(), pod["metadata"]
        runs = {run.id: run for run in (await self._cache.state(uid(pod))).containers}
        mine = [(runs[stats.attributes.id], stats) for stats in usage if stats.attributes.id in runs]
        containers = [await asyncio.to_thread(self._container, now, run, stats) for run, stats in mine]
        local = {
            name: await asyncio.to_thread(_fs, now, self._root, folder)
            for name, folder in self._volumes.local(pod).items()
        }
        ephemeral = [fs for name, fs in local.items() if _is_ephemeral(pod, name)]
        ephemeral += [fs for container in containers for fs in (container["rootfs"], container["logs"])]
        return {
            "podRef": {key: metadata[key] for key in ("name", "namespace", "uid")},
            "startTime": pod.get("status", {}).get("startTime"),
            "containers": containers,
            "cpu": _sum(now, (container["cpu"] for container in containers)),
            "memory": _sum(now, (container["memory"] for container in containers)),
            "volume": [{"name": name} | fs for name, fs in local.items()] + _claimed(now, pod, claims),
            "ephemeral-storage": _sum(now, ephemeral, ("usedBytes", "inodesUsed")),
        }

    def _container(self, now: str, run: cri.ContainerStatus, stats: cri.ContainerStats) -> Json:
        cpu: Json = {"time": now, "usageCoreNanoSeconds": stats.cpu.usage_core_nano_seconds.value}
        if (rate := self._rate(run.id, stats.cpu)) is not None:
            cpu["usageNanoCores"] = rate
        memory = stats.memory
        layer = _space(now, self._root) | {
            "usedBytes": stats.writable_layer.used_bytes.value,
            "inodesUsed": stats.writable_layer.inodes_used.value,
        }
        return {
            "name": run.metadata.name,
            "startTime": timestamp(run.started_at / NANOSECONDS),
            "cpu": cpu,
            "memory": {
                "time": now,
                "usageBytes": memory.usage_bytes.value,
                "workingSetBytes": memory.working_set_bytes.value,
                "rssBytes": memory.rss_bytes.value,
            },
            "rootfs": layer,
            "logs": _fs(now, self._root, Path(run.log_path).parent),
        }

    def _rate(self, run: str, cpu: cri.CpuUsage) -> int | None:
        """Nanoseconds of processor time a second, since the measurement before; None after the first."""
        used = cpu.usage_core_nano_seconds.value
        when, before, rate = self._rates.get(run, (0, 0, None))
        passed = cpu.timestamp - when
        if passed < RATE_SECONDS * NANOSECONDS:
            return rate
        rate = max(0, used - before) * NANOSECONDS // passed if when else None
        self._rates[run] = (cpu.timestamp, used, rate)
        return rate


def _is_ephemeral(pod: Json, name: str) -> bool:
    """Whether a volume counts as local ephemeral storage. Source: IsLocalEphemeralVolume of pkg/volume/util."""
    volume = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == name)
    return "configMap" in volume or ("emptyDir" in volume and not volume["emptyDir"].get("medium"))


def _claimed(now: str, pod: Json, claims: Sequence[VolumeStats]) -> list[Json]:
    namespace, found = pod["metadata"]["namespace"], list[Json]()
    by_claim = {(stats.namespace, stats.claim): stats.answer for stats in claims}
    for volume in filter(is_claimed, parts(pod["spec"], "volumes")):
        claim = claim_name(pod, volume)
        if (answer := by_claim.get((namespace, claim))) is None:
            continue
        fs: Json = {"name": volume["name"], "pvcRef": {"name": claim, "namespace": namespace}, "time": now}
        for usage in answer.usage:
            if usage.unit == csi.VolumeUsage.BYTES:
                fs |= {"capacityBytes": usage.total, "availableBytes": usage.available, "usedBytes": usage.used}
            elif usage.unit == csi.VolumeUsage.INODES:
                fs |= {"inodes": usage.total, "inodesFree": usage.available, "inodesUsed": usage.used}
        found.append(fs)
    return found


def _sum(now: str, parts: Iterable[Json], names: Sequence[str] = ()) -> Json:
    """Parts added up, field by field; 0 for each of `names` that no part has."""
    total: Json = {"time": now} | dict.fromkeys(names, 0)
    for part in parts:
        for key, value in part.items():
            if key != "time" and (not names or key in names):
                total[key] = total.get(key, 0) + value
    return total


def _space(now: str, folder: Path) -> Json:
    """The disk that a folder lies on."""
    disk = os.statvfs(folder)
    return {
        "time": now,
        "capacityBytes": disk.f_blocks * disk.f_frsize,
        "availableBytes": disk.f_bavail * disk.f_frsize,
        "inodes": disk.f_files,
        "inodesFree": disk.f_ffree,
    }


def _fs(now: str, root: Path, folder: Path | None = None) -> Json:
    """The disk of a folder, and what the folder uses of it; what is used of all of it, if there is no folder."""
    space = _space(now, folder if folder and folder.is_dir() else root)
    if folder is None:
        return space | {
            "usedBytes": space["capacityBytes"] - space["availableBytes"],
            "inodesUsed": space["inodes"] - space["inodesFree"],
        }
    size, count = disk_usage(folder)
    return space | {"usedBytes": size, "inodesUsed": count}


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])
