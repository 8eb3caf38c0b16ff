"""Events: short notes about an object, for people, which `kubectl describe` shows.

Recording must never hold up or break the work it tells of. So a note is put into a queue and written in the background;
the same note again within ten minutes only counts up the first one; an object that talks too much is cut off (25 notes
at once, then one in five minutes, as client-go has it).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8sext.kube.objects import Json, timestamp
from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import EVENTS

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

SAME_NOTE_SECONDS = 600
BURST, SECONDS_PER_NOTE = 25, 300
REMEMBERED = 4096


@dataclass
class _Note:
    """What was already written: where it stands and how often it was said."""

    name: str
    namespace: str
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
    """Writes events in the name of one component. Start it with `async with`; leaving it writes what is still
    queued."""

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
        """Note that something happened to the object behind `reference`. `type` is Normal or Warning. Returns at
        once."""
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
            except Exception:  # one note that cannot be written must not be the last
                log.exception("an event was lost: %s", note)
            finally:
                self._queue.task_done()

    async def _write(self, reference: Json, type: str, reason: str, message: str) -> None:
        key = (reference.get("uid", ""), reference.get("fieldPath", ""), type, reason, message)
        known = self._notes.get(key)
        if known and time.monotonic() - known.seen < SAME_NOTE_SECONDS and await self._count_up(known):
            return
        namespace = reference.get("namespace") or "default"
        # Names in order of time: lists of one second are sorted by them.
        name = f"{reference['name']}.{time.time_ns():x}"
        now = timestamp()
        await request(
            self._client,
            "POST",
            EVENTS.collection(namespace),
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
        self._notes[key] = _Note(name, namespace)
        _forget_old(self._notes)

    async def _count_up(self, note: _Note) -> bool:
        body = {"count": note.count + 1, "lastTimestamp": timestamp()}
        try:
            await request(self._client, "PATCH", EVENTS.path(note.name, note.namespace), body, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        note.count += 1
        note.seen = time.monotonic()
        return True


def _forget_old(store: OrderedDict[Any, Any]) -> None:
    while len(store) > REMEMBERED:
        store.popitem(last=False)
