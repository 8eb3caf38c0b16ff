"""Fake nodes: they register and hold their lease and never run a pod. Lessons on scheduling want a thousand of them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from k8sext.infra.kubelet.node.lease import renew_once
from k8sext.infra.kubelet.node.node import Readiness, node_object, register
from k8sext.infra.nodes import NodeSpec
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.objects import timestamp
from k8sext.kube.request import ApiError, Unreachable

log = logging.getLogger(__name__)

RENEW_SECONDS = 5.0
RENEWALS_PER_SECOND = 100
"""More would keep the API server busier than the lesson does. So a thousand nodes renew every ten seconds, and the
controller manager has to be more patient with them than with three (--node-monitor-grace-period)."""
AT_ONCE = 8
ZONES = ("zone-a", "zone-b", "zone-c")
FAKE = "k8sext.io/fake"
"""Label and taint. A pod that lands on a fake node never starts, so only those go there that say by a toleration
that they know."""


def fake_name(number: int) -> str:
    """fake-0001, fake-0002, ..."""
    return f"fake-{number:04d}"


def fake_spec(number: int) -> NodeSpec:
    """What such a node looks like: the zones take turns."""
    labels = {
        "topology.kubernetes.io/zone": ZONES[number % len(ZONES)],
        "topology.kubernetes.io/region": "region-1",
        FAKE: "",
    }
    taints = [{"key": FAKE, "effect": "NoSchedule"}]
    return NodeSpec(fake_name(number), 0, labels=labels, taints=taints)


async def run_fake_nodes(kubeconfig: Path, count: int) -> None:
    """Register the nodes and renew their leases until cancelled; a node that is deleted in between is left alone.

    `kubeconfig` belongs to a user who may do this for many nodes: an ordinary kubelet may only for its own.
    """
    client = await from_kubeconfig(kubeconfig)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        spec = fake_spec(number)
        async with gate:
            await register(client, node_object(spec, None, Readiness(True), timestamp(), with_address=False))
        while True:
            async with gate:
                try:
                    await renew_once(client, spec.name)
                except (ApiError, Unreachable) as error:
                    log.warning("the lease of node %s: %s", spec.name, error)
            await asyncio.sleep(max(RENEW_SECONDS, count / RENEWALS_PER_SECOND))

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(1, count + 1):
                group.create_task(one(number))
    finally:
        await client.close()
