"""What a pod's status tells about its past: when its containers ran, and so when the pod was up.

The status holds, for each container, the run that is under way and the one before it, and nothing older. So the past of a pod is
known from some moment on, and everything here speaks of that part of the window alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from k8sext.clients.kubectl import Json

Span = tuple[float, float]


@dataclass(frozen=True)
class Uptime:
    """One pod: seconds `up` since its last container start (None: it is not up), and its past since `known`."""

    namespace: str
    name: str
    up: float | None
    restarts: int
    known: float
    now: float
    spans: tuple[Span, ...]
    node: str
    last_exit: str

    @property
    def availability(self) -> float | None:
        """The share of the known time in which all containers ran; None when nothing is known yet."""
        known = self.now - self.known
        return sum(end - start for start, end in self.spans) / known if known > 0 else None


def uptime_of(pod: Json, now: float, window: float) -> Uptime:
    """Read a pod's status; `now` is in seconds since 1970, `window` says how many seconds of the past count."""
    statuses: list[Json] = pod["status"].get("containerStatuses") or []
    begin = max(now - window, _seconds(pod["status"].get("startTime") or pod["metadata"]["creationTimestamp"]))
    known = min(now, max([begin, *(_known_since(status) for status in statuses)]))
    wanted = len(pod["spec"]["containers"])
    spans = _common([_runs(status, now) for status in statuses], known, now) if len(statuses) == wanted else ()
    starts = [_seconds(status["state"]["running"]["startedAt"]) for status in statuses if "running" in status.get("state", {})]
    return Uptime(
        namespace=pod["metadata"]["namespace"],
        name=pod["metadata"]["name"],
        up=max(0.0, now - max(starts)) if starts and len(starts) == wanted else None,
        restarts=sum(status.get("restartCount", 0) for status in statuses),
        known=known,
        now=now,
        spans=spans,
        node=pod["spec"].get("nodeName", ""),
        last_exit=_last_exit(statuses),
    )


def _known_since(status: Json) -> float:
    """After two restarts the first run is forgotten: what was before the last one is not known."""
    if status.get("restartCount", 0) < 2:
        return 0.0
    last = status.get("lastState", {}).get("terminated") or status.get("state", {}).get("terminated") or {}
    return _seconds(last.get("startedAt")) or _seconds(last.get("finishedAt"))


def _runs(status: Json, now: float) -> list[Span]:
    runs = []
    for state in (status.get("lastState", {}), status.get("state", {})):
        if ended := state.get("terminated"):
            runs.append((_seconds(ended.get("startedAt")), _seconds(ended.get("finishedAt"))))
        elif running := state.get("running"):
            runs.append((_seconds(running["startedAt"]), now))
    return runs


def _common(runs: Sequence[list[Span]], begin: float, end: float) -> tuple[Span, ...]:
    """Return the spans in which every container ran."""
    spans = [(begin, end)]
    for own in runs:
        pairs = [(max(a, c), min(b, d)) for a, b in spans for c, d in own]
        spans = [(start, stop) for start, stop in pairs if start < stop]
    return tuple(sorted(spans))


def _last_exit(statuses: Sequence[Json]) -> str:
    ends: list[dict[str, Any]] = []
    for status in statuses:
        ends += [state["terminated"] for state in (status.get("lastState", {}), status.get("state", {})) if "terminated" in state]
    if not ends:
        return ""
    last = max(ends, key=lambda end: _seconds(end.get("finishedAt")))
    return f"{last.get('reason') or 'Exited'} ({last['exitCode']})"


def _seconds(time: str | None) -> float:
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() if time else 0.0
