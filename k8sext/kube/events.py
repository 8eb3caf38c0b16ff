"""Events: short notes about an object, for people, which `kubectl describe` shows.

Recording must never hold up or break the work it tells of. So a note is put into a queue and written in the background; the same
note again within ten minutes only counts up the first one; an object that talks too much is cut off (25 notes at once, then one
in five minutes, as client-go has it).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8sext.kube.request import MERGE_PATCH, ApiError, Json, Unreachable, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

SAME_NOTE_SECONDS = 600
BURST, SECONDS_PER_NOTE = 25, 300
REMEMBERED = 4096


@dataclass
class _Note:
    """What was already written: where it stands and how often it was said."""

    path: str
    name: str
    count: int = 1
    seen: float = field(default_factory=time.monotonic)


@dataclass
class _Allowance:
    notes: float = BURST
    seen: float = field(default_factory=time.monotonic)

    def take(self) -> bool:
        now = time.monotonic()
        self.notes = min(BURST, self.notes + (now - self.seen) / SECONDS_PER_NOTE)
        self.seen = now
        if self.notes < 1:
            return False
        self.notes -= 1
        return True


class EventRecorder:
    """Writes events in the name of one component. Start it with `async with`; leaving it writes what is still queued."""

    def __init__(self, client: ApiClient, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component} | ({"host": host} if host else {})
        self._queue: asyncio.Queue[tuple[Json, str, str, str]] = asyncio.Queue()
        self._notes: OrderedDict[tuple[str, ...], _Note] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EventRecorder:
        self._task = asyncio.create_task(self._run(), name="events")
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), timeout=2)
        if self._task:
            self._task.cancel()

    def event(self, reference: Json, type: str, reason: str, message: str) -> None:
        """Note that something happened to the object behind `reference`. `type` is Normal or Warning. Returns at once."""
        allowance = self._allowances.setdefault(reference.get("uid", ""), _Allowance())
        _forget_old(self._allowances)
        if allowance.take():
            self._queue.put_nowait((reference, type, reason, message[:1024]))

    async def _run(self) -> None:
        while True:
            note = await self._queue.get()
            try:
                await self._write(*note)
            except (ApiError, Unreachable) as error:
                log.debug("an event was lost: %s", error)
            finally:
                self._queue.task_done()

    async def _write(self, reference: Json, type: str, reason: str, message: str) -> None:
        key = (reference.get("uid", ""), reference.get("fieldPath", ""), type, reason, message)
        known = self._notes.get(key)
        if known and time.monotonic() - known.seen < SAME_NOTE_SECONDS and await self._count_up(known):
            return
        namespace = reference.get("namespace") or "default"
        path = f"/api/v1/namespaces/{namespace}/events"
        name = (
            f"{reference['name']}.{time.time_ns():x}"  # names in order of time: lists of one second are sorted by them
        )
        now = timestamp()
        await request(
            self._client,
            "POST",
            path,
            {
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": reference,
                "type": type,
                "reason": reason,
                "message": message,
                "source": self._source,
                "reportingComponent": self._source["component"],
                "reportingInstance": self._source.get("host", ""),
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )
        self._notes[key] = _Note(path, name)
        _forget_old(self._notes)

    async def _count_up(self, note: _Note) -> bool:
        body = {"count": note.count + 1, "lastTimestamp": timestamp()}
        try:
            await request(self._client, "PATCH", f"{note.path}/{note.name}", body, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        note.count += 1
        note.seen = time.monotonic()
        return True


def reference_to(item: Json, field_path: str = "") -> Json:
    """The ObjectReference of an object, optionally of a part of it (`spec.containers{web}`)."""
    metadata = item["metadata"]
    reference = {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return reference | ({"fieldPath": field_path} if field_path else {})


def timestamp(seconds: float | None = None) -> str:
    """A time as the API writes it: UTC, whole seconds, "Z". Now, if none is given."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _forget_old(store: OrderedDict) -> None:
    while len(store) > REMEMBERED:
        store.popitem(last=False)
