"""All about one object, and the events, as HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from k8sext.notebook.view.drawing import clean
from k8sext.notebook.view.model import Happening, pod_of

COLUMNS = ("time", "about", "reason", "message")
LONGEST = 20_000
ROWS = 8
CELL = "text-align:left;vertical-align:top;padding:1px 8px"
NOTHING = "<p>Choose an object to see why it is in its state, its events and its YAML.</p>"


def detail(item: dict[str, Any], events: Iterable[Happening]) -> str:
    """Tell about an object: for a pod its state and the reason, then its events, then its YAML."""
    about = f"{item['kind'].lower()} {item['metadata']['name']}"
    parts = [f"<div><b>{clean(about)}</b></div>"]
    if item["kind"] == "Pod":
        pod = pod_of(item)
        told = f"{pod.state}: {pod.why}" if pod.why else pod.state
        parts.append(f'<div style="line-height:1.4">{clean(told)}</div>')
    namespace = item["metadata"].get("namespace")
    mine = [event for event in events if event.about == about and namespace in (None, event.namespace)]
    if mine:
        parts.append(events_table(mine, "Its events", ("time", "reason", "message")))
    return "".join([*parts, _yaml(item)])


def gone(name: str, reason: str) -> str:
    """Say that an object cannot be told about."""
    return f"<p><b>{clean(name)}</b></p><p>{clean(reason)}</p>"


def events_table(events: Iterable[Happening], caption: str, columns: Sequence[str] = COLUMNS) -> str:
    """Return the last events as a table, the latest first."""
    rows = "".join(_row(event, columns) for event in list(events)[-ROWS:][::-1])
    head = "".join(f'<th scope="col" style="{CELL}">{word}</th>' for word in columns)
    body = f"<tr>{head}</tr>{rows}" if rows else f'<tr><td style="{CELL}">none yet</td></tr>'
    caption = f'<caption style="text-align:left;font-weight:600">{clean(caption)}</caption>'
    return f'<table style="font-size:12px;line-height:1.4">{caption}{body}</table>'


def _row(event: Happening, columns: Sequence[str]) -> str:
    message = textwrap.shorten(event.message, 200, placeholder=" …")
    told = {
        "time": event.time[11:19],
        "about": event.about,
        "reason": ("! " if event.type == "Warning" else "") + event.reason,
        "message": message + (f" ({event.count} times)" if event.count > 1 else ""),
    }
    narrow = {"time", "about", "reason"}
    cells = (
        f'<td style="{CELL}{";white-space:nowrap" if column in narrow else ""}">{clean(told[column])}</td>'
        for column in columns
    )
    return f"<tr>{''.join(cells)}</tr>"


def _yaml(item: dict[str, Any]) -> str:
    from k8sext.kube.manifest import to_yaml

    item = item | {"metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"}}
    text = to_yaml(item, allow_unicode=True)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}\n... and {len(text) - LONGEST} characters more"
    style = "max-height:22em;overflow:auto;margin:0;font-size:12px;line-height:1.35"
    lines = "\n".join(map(clean, text.splitlines()))
    return f'<pre tabindex="0" role="region" aria-label="YAML" style="{style}">{lines}</pre>'
