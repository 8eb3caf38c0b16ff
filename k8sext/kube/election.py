"""Leader election: of several copies of a program, one works and the others wait to take its place.

When to take and renew the Lease is decided by the official client's `kubernetes.aio.leaderelection`. What is added here
makes it safe to live with: a lost connection is a failed try and no crash, losing the lease ends the work before anyone
else may begin, and whoever leaves in good order gives the lease back, so that the next one need not wait for it to run
out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from k8sext.kube.objects import Json, micro_time
from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import LEASES

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

    Returns when the work returns. Raises LeadershipLost when the lease is lost, with the work cancelled before: a
    program ends then, and begins again as a follower.
    """
    from kubernetes.aio.leaderelection.electionconfig import Config
    from kubernetes.aio.leaderelection.leaderelection import LeaderElection

    leading = asyncio.Event()

    async def on_started() -> None:
        leading.set()

    async def on_stopped() -> None:
        log.warning("%s lost the lease %s/%s", identity, namespace, name)

    lock = _lock(client, name, namespace, identity, lease_duration, renew_deadline / 2)
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
    path = LEASES.path(name, namespace)
    try:
        lease = await request(client, "GET", path, timeout=2)
        if lease["spec"].get("holderIdentity") == identity:
            # with the resource version: if somebody took the lease just now, it stays theirs
            version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
            body = {"metadata": version, "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
            await request(client, "PATCH", path, body, content_type=MERGE_PATCH, timeout=2)
    except (ApiError, Unreachable) as error:
        log.info("the lease %s/%s was not given back and will run out: %s", namespace, name, error)


def _lock(client: ApiClient, name: str, namespace: str, identity: str, duration: int, limit: float) -> Any:
    """A lock for the official election, over plain JSON: the client's own cannot create a Lease (it sends `pretty` as a
    boolean, which its own validation refuses), and a connection that breaks would end the election.
    """
    from kubernetes.aio.client.exceptions import ApiException
    from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
    from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

    path = LEASES.path(name, namespace)

    class Lock(BaseLock):
        seen: Json = {}  # noqa: RUF012 - replaced, never changed

        async def get(self, name: str, namespace: str) -> Any:
            try:
                self.seen = await request(client, "GET", path, timeout=limit)
            except (ApiError, Unreachable) as error:
                code: int = getattr(error, "code", 0)
                failure = ApiException(status=code, reason=str(error))
                failure.body = json.dumps({"code": code})
                return False, failure
            spec: Json = self.seen.get("spec") or {}
            held, times = spec.get("leaseDurationSeconds"), (spec.get("acquireTime"), spec.get("renewTime"))
            return True, LeaderElectionRecord(spec.get("holderIdentity") or None, held and str(held), *times)

        async def create(self, name: str, namespace: str, election_record: Any) -> bool:
            now = micro_time()
            return await self._tried(
                "POST", LEASES.collection(namespace), {"metadata": {"name": name}, "spec": self._spec(now, now)}
            )

        async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
            spec: Json = self.seen.get("spec") or {}
            now = micro_time()
            since = spec.get("acquireTime", now) if spec.get("holderIdentity") == identity else now
            body = self.seen | {"spec": spec | self._spec(since, now)}
            return await self._tried("PUT", path, body)

        def _spec(self, since: str, now: str) -> Json:
            times = {"acquireTime": since, "renewTime": now}
            return {"holderIdentity": identity, "leaseDurationSeconds": duration} | times

        async def _tried(self, method: str, path: str, body: Json) -> bool:
            try:
                await request(client, method, path, body, timeout=limit)
            except (ApiError, Unreachable) as error:
                log.info("%s did not get the lease: %s", identity, error)
                return False
            return True

    return Lock(name, namespace, identity)
