"""The lease of a node: the small heartbeat. A node whose lease is not renewed becomes NotReady.

Source: "Nodes", section "Heartbeats", in the Kubernetes documentation; KEP-589.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from k8sext.kube.objects import micro_time
from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import LEASES

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
RENEW_SECONDS, LEASE_SECONDS = 4.0, 40


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
    spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": micro_time()}
    path = LEASES.path(name, NAMESPACE)
    try:
        await request(client, "PATCH", path, {"spec": spec}, content_type=MERGE_PATCH, timeout=5)
    except ApiError as error:
        if error.code != 404:
            raise
        body = {"metadata": {"name": name}, "spec": spec}
        await request(client, "POST", LEASES.collection(NAMESPACE), body, timeout=5)
