"""Evict pods that use more of the node's disk than they named as their limit: of an emptyDir, a container, or the pod.

Nothing keeps a container from writing more: the kubelet looks every ten seconds, and ends the pod that did.
Source: localStorageEviction of pkg/kubelet/eviction/eviction_manager.go.
https://kubernetes.io/docs/concepts/storage/ephemeral-storage/#resource-emphemeralstorage-consumption
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from k8sext.infra.kubelet.runtime.client import RuntimeFailure
from k8sext.infra.kubelet.stats.provider import StatsProvider
from k8sext.kube.objects import Json, key_of, part, parts
from k8sext.kube.pod import lasting_containers, limits
from k8sext.kube.quantity import amount, written

log = logging.getLogger(__name__)

MONITORING_SECONDS = 10.0
DISK = "ephemeral-storage"
SYSTEM_CRITICAL = 2_000_000_000
"""From this priority on, a pod is not evicted."""


class Evictable(Protocol):
    """The worker of a pod."""

    @property
    def pod(self) -> Json: ...

    def evict(self, message: str) -> None:
        """End the pod, which has failed, and say why. Says nothing of a pod that is ending."""
        ...


async def evict_pods(workers: Callable[[], Iterable[Evictable]], stats: StatsProvider) -> None:
    """Look after the pods of a node until cancelled."""
    while True:
        await asyncio.sleep(MONITORING_SECONDS)
        limited = [worker for worker in workers() if has_limit(worker.pod)]
        if not limited:
            continue
        try:
            found = await stats.pods([worker.pod for worker in limited])
        except (RuntimeFailure, OSError) as error:
            log.warning("what pods use of the disk is not known: %s", error)
            continue
        for worker, used in zip(limited, found, strict=True):
            if message := why_evict(worker.pod, used):
                if worker.pod["spec"].get("priority", 0) >= SYSTEM_CRITICAL:
                    log.error("pod %s is critical and stays: %s", key_of(worker.pod), message)
                else:
                    worker.evict(message)


def has_limit(pod: Json) -> bool:
    """Whether a pod names a limit of its disk."""
    return DISK in limits(pod) or any(_size_limits(pod))


def why_evict(pod: Json, stats: Json) -> str:
    """Which limit a pod exceeds, in the kubelet's words; "" if none. `stats` is its PodStats."""
    used_by_volume = {volume["name"]: volume["usedBytes"] for volume in stats["volume"] if "usedBytes" in volume}
    for name, limit in _size_limits(pod):
        if used_by_volume.get(name, 0) > amount(DISK, limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    total = limits(pod).get(DISK)
    if total is not None and stats[DISK]["usedBytes"] > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {written(total)}. "
    used = {each["name"]: each["rootfs"]["usedBytes"] + each["logs"]["usedBytes"] for each in stats["containers"]}
    for container in lasting_containers(pod):
        name, limit = container["name"], part(part(container, "resources"), "limits").get(DISK, "0")
        if 0 < amount(DISK, limit) < used.get(name, 0):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def _size_limits(pod: Json) -> Iterator[tuple[str, str]]:
    """The emptyDirs with a limit that is not zero. One in memory cannot grow over it."""
    for volume in parts(pod["spec"], "volumes"):
        limit = part(volume, "emptyDir").get("sizeLimit")
        if limit and amount(DISK, limit) > 0:
            yield volume["name"], limit
