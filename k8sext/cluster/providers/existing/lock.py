"""One learner at a time: the notebooks' names are the same for everybody, so a Lease says who works with them.

It is taken by `up` and renewed whenever a notebook begins. Nothing runs to renew it in between, so it holds for an
hour; after that another learner may take it, and the first one hears so when the next notebook begins.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.providers.existing.inventory import HOME
from k8sext.cluster.providers.existing.target import OWNER, Target

LEASE = "learner"
DURATION = timedelta(hours=1)
TRIES = 3


def refuse_if_held(target: Target, owner: str) -> None:
    """Raise ClusterError when somebody else holds the lock."""
    _refuse(_read(target), owner)


def take(target: Target, owner: str) -> None:
    """Take the lock, or renew it. Raises ClusterError when somebody else holds it."""
    for _ in range(TRIES):  # two who try at once: one is refused by the API server, and then reads who was quicker
        lease = _read(target)
        _refuse(lease, owner)
        with contextlib.suppress(ClusterError):
            target.run("replace" if lease else "create", "--filename=-", input=_lease(lease, owner))
            return
    raise ClusterError(
        f"The lock of the workbook (the Lease {LEASE} in the namespace {HOME}) cannot be written: try again."
    )


def holder(target: Target) -> str | None:
    """Who holds the lock now; nobody when it has run out."""
    return _holder(_read(target))


def _read(target: Target) -> dict[str, Any]:
    return target.json("lease", LEASE, f"--namespace={HOME}", "--ignore-not-found")


def _holder(lease: dict[str, Any]) -> str | None:
    return lease["spec"].get("holderIdentity") if lease and _ends(lease) > datetime.now(UTC) else None


def _ends(lease: dict[str, Any]) -> datetime:
    spec = lease["spec"]
    renewed = datetime.fromisoformat(spec.get("renewTime") or "1970-01-01T00:00:00Z")
    return renewed + timedelta(seconds=spec.get("leaseDurationSeconds", 0))


def _refuse(lease: dict[str, Any], owner: str) -> None:
    if (other := _holder(lease)) and other != owner:
        raise ClusterError(
            f"{other} works with the notebooks on this cluster (the lock holds until {_ends(lease):%H:%M} UTC unless "
            "renewed): wait, or "
            "ask for a `k8sext down` there; two at once would remove each other's objects."
        )


def _lease(found: dict[str, Any], owner: str) -> dict[str, Any]:
    """The lease as it should be. With the version that was read: whoever wrote in between wins."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata = {"name": LEASE, "namespace": HOME, "labels": {OWNER: owner}}
    if found:
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
    spec = {"holderIdentity": owner, "leaseDurationSeconds": int(DURATION.total_seconds()), "renewTime": now}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
