"""The API server's audit log: one JSON line for each request, with its audit ID, its user, its answer and its times.

Source: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path

from k8sext.kube.objects import Json

WAIT_LIMIT = 10.0


class AuditLog:
    """The audit log in a file. It is read from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.events: list[Json] = []
        """All finished requests so far, oldest first."""

    def refresh(self) -> list[Json]:
        """Read on; returns the requests that were finished since the last time."""
        new = list(self._new_events())
        self.events += new
        return new

    def find(self, audit_id: str = "", *, verb: str = "", resource: str = "", name: str = "") -> Json:
        """The last finished request that fits; waits for it, because the log is written after the client has its
        answer.

        Raises LookupError when there is none within ten seconds.
        """
        deadline = time.monotonic() + WAIT_LIMIT
        while True:
            self.refresh()
            for event in reversed(self.events):
                reference = event.get("objectRef") or {}
                found = (event["auditID"], event["verb"], reference.get("resource", ""), _name(event))
                if all(want in ("", have) for want, have in zip((audit_id, verb, resource, name), found, strict=True)):
                    return event
            if time.monotonic() > deadline:
                raise LookupError(f"the audit log holds no request {audit_id or ' '.join((verb, resource, name))}")
            time.sleep(0.02)

    def _new_events(self) -> Iterator[Json]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    return
                self._read += len(line)
                event = json.loads(line)
                if event["stage"] in ("ResponseComplete", "Panic") or _is_unauthorized(event):
                    yield event


def seconds(timestamp: str) -> float:
    """An audit timestamp as time.time() has it."""
    return datetime.datetime.fromisoformat(timestamp).timestamp()


def _is_unauthorized(event: Json) -> bool:
    """A request without a known user is written down when it is turned away, and never again."""
    return (event.get("responseStatus") or {}).get("code") == 401


def _name(event: Json) -> str:
    """The object's name; a request to create one carries it in the body, not in the URL."""
    reference = event.get("objectRef") or {}
    asked = (event.get("requestObject") or {}).get("metadata") or {}
    return reference.get("name") or asked.get("name", "")
