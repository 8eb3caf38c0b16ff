"""How uptimes look: a table with a bar for each pod, or data for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from k8sext.clients.plugins.timeline import Uptime

BAR = 20
UP, DOWN, UNKNOWN = "█", "▁", "·"
GREEN, YELLOW, RED, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


def table(pods: Sequence[Uptime], window: float, *, wide: bool, namespaces: bool, colour: bool) -> str:
    """Return the pods as lines under headings; the bar shows the window, oldest first."""
    head = ["NAME", "UP", "RESTARTS", "AVAILABLE", f"LAST {duration(window).upper()}"]
    rows = [
        [pod.name, duration(pod.up), str(pod.restarts), percent(pod.availability), bar(pod, window)] for pod in pods
    ]
    if wide:
        head += ["KNOWN", "LAST EXIT", "NODE"]
        rows = [
            [*row, duration(pod.now - pod.known), pod.last_exit or "-", pod.node or "-"]
            for row, pod in zip(rows, pods, strict=True)
        ]
    if namespaces:
        head.insert(0, "NAMESPACE")
        rows = [[pod.namespace, *row] for row, pod in zip(rows, pods, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["   ".join(map(str.ljust, row, widths)).rstrip() for row in [head, *rows]]
    if colour:
        lines[1:] = [f"{_colour(pod)}{line}{PLAIN}" for line, pod in zip(lines[1:], pods, strict=True)]
    return "\n".join(lines)


def bar(pod: Uptime, window: float) -> str:
    """Return the window in BAR signs: up, down for some of that time, or not known."""
    step = window / BAR
    return "".join(_sign(pod, pod.now - window + place * step, step) for place in range(BAR))


def _sign(pod: Uptime, start: float, step: float) -> str:
    begin, end = max(start, pod.known), start + step
    if end - begin <= 1e-6:
        return UNKNOWN
    up = sum(max(0.0, min(end, b) - max(begin, a)) for a, b in pod.spans)
    return UP if up >= 0.999 * (end - begin) else DOWN


def duration(seconds: float | None) -> str:
    """Return a time as kubectl writes it: its two biggest units."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    return "".join(f"{number}{unit}" for number, unit in parts[first : first + 2] if number) or "0s"


def percent(share: float | None) -> str:
    """Return a share; what is not quite all is never rounded up to it."""
    if share is None:
        return "-"
    return "100%" if share >= 1 else f"{min(share * 100, 99.99):.2f}%"


def as_data(pods: Sequence[Uptime]) -> list[dict[str, Any]]:
    """Return the pods as plain data, times in seconds."""
    return [
        {
            "namespace": pod.namespace,
            "name": pod.name,
            "upSeconds": None if pod.up is None else round(pod.up),
            "restarts": pod.restarts,
            "availability": None if pod.availability is None else round(pod.availability, 6),
            "knownSeconds": round(pod.now - pod.known),
            "node": pod.node,
            "lastExit": pod.last_exit,
        }
        for pod in pods
    ]


def _colour(pod: Uptime) -> str:
    if pod.up is None:
        return RED
    return YELLOW if pod.restarts else GREEN
