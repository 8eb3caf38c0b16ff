"""A POST that is answered when the object is initialized, has failed, is deleted, or the time is over.

The object is watched with the requester's own credentials. Whoever may create but not watch cannot wait, and is told
so. Source: `WaitForInitialized` in the generic registry's `store.go` of Kubernetes 1.9.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp

from k8sext.admission.initializers.model import Invalid, read
from k8sext.kube.objects import Json

LARGEST_OBJECT = 8 * 2**20
PAUSE = 0.2


class CannotWatch(Exception):
    """The requester may not watch what it has created; the message is the API server's."""


@dataclass(frozen=True)
class Outcome:
    """How waiting ended: an HTTP status, and the object or a Status object."""

    code: int
    body: Json


async def until_initialized(
    session: aiohttp.ClientSession, collection: str, headers: Mapping[str, str], created: Json, limit: float
) -> Outcome:
    """Wait for an object that has been created in a collection (a URL), at most so many seconds.

    Raises CannotWatch, or aiohttp.ClientError when the API server is gone.
    """
    try:
        async with asyncio.timeout(limit):
            async for kind, item in _changes(session, collection, headers, created):
                if outcome := _outcome(kind, item):
                    return outcome
    except TimeoutError:
        pass
    return failure(504, "Timeout", "Timeout: request did not complete within allowed duration")


def is_initialized(item: Json) -> bool:
    """Whether nothing is pending and nothing failed. For what makes no sense, and so is not ours, nobody waits."""
    try:
        return read(item) is None
    except (Invalid, AttributeError, TypeError):
        return True


def failure(code: int, reason: str, message: str) -> Outcome:
    """A Status object that says no."""
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return Outcome(code, status | {"message": message, "reason": reason, "code": code})


def _outcome(kind: str, item: Json) -> Outcome | None:
    found = None if is_initialized(item) else read(item)
    if found and found.result is not None:
        code = found.result.get("code") or 500
        return failure(code, found.result.get("reason", ""), found.result.get("message", ""))
    if kind == "DELETED":
        return failure(500, "InternalError", "Internal error occurred: object deleted while waiting for creation")
    return Outcome(201, item) if found is None else None


async def _changes(
    session: aiohttp.ClientSession, collection: str, headers: Mapping[str, str], created: Json
) -> AsyncIterator[tuple[str, Json]]:
    """Every change of this very object since it was created; the watch is opened again where it ended."""
    metadata = created["metadata"]
    version = metadata["resourceVersion"]
    while True:
        query = {"watch": "true", "fieldSelector": f"metadata.name={metadata['name']}", "resourceVersion": version}
        async with session.get(
            collection, params=query, headers=headers, read_bufsize=LARGEST_OBJECT, timeout=aiohttp.ClientTimeout()
        ) as answer:
            if answer.status in (401, 403):
                raise CannotWatch((await answer.json(content_type=None)).get("message", ""))
            while answer.status == 200 and (line := await answer.content.readline()):
                event = json.loads(line)
                if event["type"] == "ERROR":  # its place in history is forgotten: see what there is now
                    version = ""
                    break
                version = event["object"]["metadata"]["resourceVersion"]
                if event["object"]["metadata"]["uid"] == metadata["uid"]:
                    yield event["type"], event["object"]
        await asyncio.sleep(PAUSE)
