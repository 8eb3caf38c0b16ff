"""What a pod's status tells about its past: when its containers ran, and so when the pod was up.

The status holds, for each container, the run that is under way and the one before it, and nothing older. So the past of
a pod is known from some moment on (for a pod that was never restarted: from its first start), and all here speaks of
that time alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from k8sext.kube.objects import Json
from k8sext.kube.pod import all_statuses, lasting_containers, restarts

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
    """Read a pod's status; `now` is in seconds since 1970, `window` says how many seconds of the past count.

    A sidecar counts as a container does; an init container or an ephemeral one is over when it has done its work.
    """
    lasting = [container["name"] for container in lasting_containers(pod)]
    statuses = [status for status in all_statuses(pod) if status["name"] in lasting]
    begin = max(now - window, _seconds(pod["status"].get("startTime") or pod["metadata"]["creationTimestamp"]))
    known = min(now, max([begin, *(_known_since(status, now) for status in statuses)]))
    wanted = len(lasting)
    spans = _common([_runs(status, now) for status in statuses], known, now) if len(statuses) == wanted else ()
    starts = [
        _seconds(status["state"]["running"]["startedAt"]) for status in statuses if "running" in status.get("state", {})
    ]
    return Uptime(
        namespace=pod["metadata"]["namespace"],
        name=pod["metadata"]["name"],
        up=max(0.0, now - max(starts)) if starts and len(starts) == wanted else None,
        restarts=restarts(pod),
        known=known,
        now=now,
        spans=spans,
        node=pod["spec"].get("nodeName", ""),
        last_exit=_last_exit(statuses),
    )


def _known_since(status: Json, now: float) -> float:
    """Return the first start that is told of; what was before it is either waiting for the first start, or
    forgotten."""
    return min((start for start, _ in _runs(status, now) if start), default=0.0)


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
        ends += [
            state["terminated"]
            for state in (status.get("lastState", {}), status.get("state", {}))
            if "terminated" in state
        ]
    if not ends:
        return ""
    last = max(ends, key=lambda end: _seconds(end.get("finishedAt")))
    return f"{last.get('reason') or 'Exited'} ({last['exitCode']})"


def _seconds(time: str | None) -> float:
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() if time else 0.0
