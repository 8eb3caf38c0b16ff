"""Leader election: of several copies of a program, one works and the others wait to take its place.

The Lease is taken and renewed by the official client's `kubernetes.aio.leaderelection`. What is added here makes it safe to live
with: a lost connection is a failed try and no crash, losing the lease ends the work before anyone else may begin, and whoever
leaves in good order gives the lease back, so that the next one need not wait for it to run out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD = 15, 10, 2


class LeadershipLost(Exception):
    """The lease could not be renewed in time; somebody else may work now."""


async def lead(
    client: ApiClient,
    work: Callable[[], Awaitable[None]],
    *,
    name: str,
    namespace: str,
    identity: str,
    lease_duration: int = LEASE_DURATION,
    renew_deadline: int = RENEW_DEADLINE,
    retry_period: int = RETRY_PERIOD,
) -> None:
    """Wait for the Lease `namespace/name`, do the work while holding it, give it back.

    Returns when the work returns. Raises LeadershipLost when the lease is lost, with the work cancelled before: a program ends then,
    and begins again as a follower.
    """
    from kubernetes.aio.leaderelection.electionconfig import Config
    from kubernetes.aio.leaderelection.leaderelection import LeaderElection

    leading = asyncio.Event()

    async def on_started() -> None:
        leading.set()

    async def on_stopped() -> None:
        log.warning("%s lost the lease %s/%s", identity, namespace, name)

    lock = _lock(client, name, namespace, identity, renew_deadline / 2)
    election = LeaderElection(Config(lock, lease_duration, renew_deadline, retry_period, on_started, on_stopped))
    campaign = asyncio.create_task(election.run(), name=f"election {name}")
    working: asyncio.Future[None] | None = None
    try:
        await _first(asyncio.create_task(leading.wait()), campaign)
        log.info("%s leads by the lease %s/%s", identity, namespace, name)
        working = asyncio.ensure_future(work())
        if not await _first(working, campaign):
            raise LeadershipLost(f"{identity} could not renew the lease {namespace}/{name} within {renew_deadline} s")
        await working
    finally:
        await _cancelled(working)
        await _cancelled(campaign)
        if leading.is_set():
            await _release(client, name, namespace, identity)


async def _first(task: asyncio.Future[Any], campaign: asyncio.Task[None]) -> bool:
    """Wait until the task or the campaign ends; says whether it was the task. A campaign's own error is raised."""
    done, _ = await asyncio.wait({task, campaign}, return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        return True
    campaign.result()
    return False


async def _cancelled(task: asyncio.Future[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _release(client: ApiClient, name: str, namespace: str, identity: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"
    try:
        lease = await request(client, "GET", path, timeout=2)
        if lease["spec"].get("holderIdentity") == identity:
            # with the resource version: if somebody took the lease just now, it stays theirs
            version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
            body = {"metadata": version, "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
            await request(client, "PATCH", path, body, content_type=MERGE_PATCH, timeout=2)
    except (ApiError, Unreachable) as error:
        log.info("the lease %s/%s was not given back and will run out: %s", namespace, name, error)


def _lock(client: ApiClient, name: str, namespace: str, identity: str, limit: float) -> Any:
    """The official lock, but a try that meets no answer within `limit` seconds fails instead of ending the election."""
    import aiohttp
    from kubernetes.aio.client.exceptions import ApiException
    from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

    class PatientLock(LeaseLock):
        async def get(self, name: str, namespace: str) -> Any:
            try:
                return await asyncio.wait_for(super().get(name, namespace), limit)
            except (aiohttp.ClientError, OSError) as error:
                return False, ApiException(status=0, reason=str(error) or type(error).__name__)

        async def create(self, name: str, namespace: str, election_record: Any) -> bool:
            return await self._tried(super().create(name, namespace, election_record))

        async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
            return await self._tried(super().update(name, namespace, updated_record))

        async def _tried(self, attempt: Awaitable[bool]) -> bool:
            try:
                return await asyncio.wait_for(attempt, limit)
            except (aiohttp.ClientError, OSError):
                return False

    return PatientLock(name, namespace, identity, client)
