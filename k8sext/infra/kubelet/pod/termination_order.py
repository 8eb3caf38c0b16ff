"""The order in which the containers of a pod end: all but the sidecars at once, then the sidecars, the last one first.

They share one grace period: who has waited for others has that much less for itself, and two seconds at least. Source:
KEP-753, and pkg/kubelet/kuberuntime/termination_order.go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.kube.objects import Json
from k8sext.kube.pod import init_containers, is_sidecar

Turn = Callable[[int], Awaitable[int]]
"""Waits, for the given seconds at most, until it is a container's turn; returns the seconds that are left."""
Kill = Callable[[cri.ContainerStatus, Turn], Awaitable[None]]
"""Ends one run: its preStop hook at once, its processes when it is its turn."""


async def end_in_order(pod: Json, runs: Sequence[cri.ContainerStatus], kill: Kill) -> None:
    """End these runs of a pod's containers. Raises what `kill` raises."""
    sidecars = [container["name"] for container in init_containers(pod) if is_sidecar(container)]
    ended = {run.id: asyncio.Event() for run in runs}

    def place(run: cri.ContainerStatus) -> int:
        """0 for those that end first; the first sidecar ends last."""
        name = run.metadata.name
        return len(sidecars) - sidecars.index(name) if name in sidecars else 0

    async def end(run: cri.ContainerStatus) -> None:
        before = [ended[other.id] for other in runs if place(other) < place(run)]
        try:
            await kill(run, lambda seconds: _wait(before, seconds))
        finally:
            ended[run.id].set()

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(end(run))


async def _wait(for_all: list[asyncio.Event], seconds: int) -> int:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            for event in for_all:
                await event.wait()
    return seconds - int(loop.time() - began)
