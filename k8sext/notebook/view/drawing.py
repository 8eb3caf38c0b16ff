"""The view as a picture: one SVG, which takes its colours from JupyterLab's theme where there is one and is light
elsewhere.

Every state has a sign and a kind of border of its own: colour alone says nothing. The tints stay apart for colour-blind
readers.
"""

from __future__ import annotations

import html
from collections.abc import Collection
from itertools import groupby

from k8sext.notebook.view.model import Node, Pod, Resource, World
from k8sext.notebook.view.words import title

LOOKS = {
    "Running": ("✓", "#cfe3f5", "#1f4e79", ""),
    "Starting": ("◔", "#fdf0cf", "#7a5600", "5 3"),
    "Not ready": ("◐", "#fdf0cf", "#7a5600", ""),
    "Waiting": ("?", "#ffffff", "#4a5560", "2 3"),
    "In trouble": ("!", "#f7d9c9", "#9c3a00", ""),
    "Failed": ("✗", "#f7d9c9", "#9c3a00", ""),
    "Succeeded": ("■", "#e6e6e6", "#4d4d4d", ""),
    "Terminating": ("–", "#efe0ee", "#6d3168", "2 3"),
}
OTHER = ("●", "#e3f1e3", "#2e6b34", "")
TEXT, QUIET = "var(--jp-content-font-color1, #222222)", "var(--jp-content-font-color1, #4a5560)"
PAPER, CARD, EDGE = "var(--jp-layout-color0, #ffffff)", "var(--jp-layout-color1, #ffffff)", "#7a8794"

WIDTH, MARGIN, NODE, GAP = 960, 12, 300, 12
HEAD, ROW, CELL = 44, 24, 20
IN_FULL = 8
"""As many pods of a node are drawn with their names; where one has more, all pods become small squares with their
signs."""
MOST_NODES, MOST_LINES, MOST_BOXES = 30, 6, 24
LETTER = 6.9


def draw(world: World, namespace: str | None, fresh: Collection[str] = ()) -> str:
    """Return the picture as SVG. `fresh` are the "namespace/name" of pods to be outlined, because they just changed."""
    world = world.only(namespace)
    canvas = _Canvas(namespace, frozenset(fresh))
    _draw_nodes(canvas, world)
    _draw_waiting(canvas, world.waiting())
    for kind, found in world.resources:
        _draw_resources(canvas, kind, found)
    _draw_legend(canvas, world)
    return canvas.svg(world.summary())


def clean(text: str) -> str:
    """Make a text from the cluster harmless in HTML, SVG and XML: markup is escaped, control characters are left
    out."""
    return html.escape("".join(letter if letter.isprintable() else " " for letter in text), quote=True)


def short(text: str, width: float) -> str:
    """Cut a text to what fits into a width."""
    letters = max(int(width / LETTER), 1)
    return text if len(text) <= letters else text[: letters - 1] + "…"


class _Canvas:
    """Shapes, and the height at which the next one goes."""

    def __init__(self, namespace: str | None, fresh: frozenset[str]) -> None:
        self.namespace, self.fresh = namespace, fresh
        self.y = float(MARGIN)
        self._shapes: list[str] = []

    def text(self, x: float, y: float, text: str, style: str = "", colour: str = TEXT) -> None:
        self._shapes.append(f'<text x="{x:g}" y="{y:g}" style="fill:{colour};{style}">{clean(text)}</text>')

    def line(self, text: str, style: str = "", colour: str = TEXT, indent: float = 0) -> None:
        """Write a line over the whole width, and go on below it."""
        self.text(MARGIN + indent, self.y + 13, short(text, WIDTH - 2 * MARGIN - indent), style, colour)
        self.y += 19

    def box(self, x: float, y: float, width: float, height: float, style: str, tip: str = "") -> None:
        tip = f"<title>{clean(tip)}</title>" if tip else ""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" style="{style}">{tip}</rect>'
        )

    def svg(self, summary: str) -> str:
        height = self.y + MARGIN / 2
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
            f'height="{height:g}" '
            'role="img" style="max-width:100%;height:auto;font:12px system-ui,sans-serif">'
            f"<title>{clean(summary)}</title>"
            f'<rect width="{WIDTH}" height="{height:g}" style="fill:{PAPER}"/>{"".join(self._shapes)}</svg>'
        )


def _draw_nodes(canvas: _Canvas, world: World) -> None:
    """Draw zones side by side as far as they fit, at most three nodes of a zone in a row."""
    chosen = _chosen(world)
    dense = max((len(world.on(node)) for node in chosen), default=0) > IN_FULL
    x, tallest = float(MARGIN), 0.0
    for zone, nodes in groupby(chosen, key=lambda node: node.zone):
        for place, node in enumerate(nodes):
            if x + NODE > WIDTH or (place and place % 3 == 0):
                canvas.y, x, tallest = canvas.y + tallest + GAP, float(MARGIN), 0.0
            canvas.text(x, canvas.y + 12, short(f"zone {zone}", NODE), colour=QUIET)
            pods = world.on(node)
            height = _node_height(len(pods), dense)
            _draw_node(canvas, node, pods, x, canvas.y + 18, height, dense)
            tallest, x = max(tallest, height + 18), x + NODE + GAP
    canvas.y += tallest + GAP
    if rest := len(world.nodes) - len(chosen):
        canvas.line(f"and {rest} more nodes, without pods or with fewer than these", colour=QUIET)


def _chosen(world: World) -> list[Node]:
    """All nodes or, where they are too many to draw, those with the most pods; in the order of the world."""
    if len(world.nodes) <= MOST_NODES:
        return list(world.nodes)
    busiest = set(sorted(world.nodes, key=lambda node: -len(world.on(node)))[:MOST_NODES])
    return [node for node in world.nodes if node in busiest]


def _node_height(pods: int, dense: bool) -> float:
    across = (NODE - 16) // CELL
    rows = -(-pods // across) if dense else pods
    return HEAD + max(rows, 1) * (CELL if dense else ROW) + 8


def _draw_node(canvas: _Canvas, node: Node, pods: list[Pod], x: float, y: float, height: float, dense: bool) -> None:
    canvas.box(
        x, y, NODE, height, f"fill:{CARD};stroke:{EDGE};stroke-width:1.5;{'' if node.ready else 'stroke-dasharray:6 4'}"
    )
    canvas.text(x + 8, y + 17, short(node.name, NODE - 90), "font-weight:600")
    if not node.ready:
        canvas.text(x + NODE - 8, y + 17, "✗ not ready", "font-weight:600;text-anchor:end")
    canvas.text(x + 8, y + 34, short(node.marks, NODE * 1.1), "font-size:11px", QUIET)
    across = (NODE - 16) // CELL
    for place, pod in enumerate(pods):
        if dense:
            _draw_square(canvas, pod, x + 8 + place % across * CELL, y + HEAD + place // across * CELL)
        else:
            _draw_pod(canvas, pod, x + 8, y + HEAD + place * ROW)


def _draw_pod(canvas: _Canvas, pod: Pod, x: float, y: float) -> None:
    sign, fill, edge, dash = LOOKS[pod.state]
    wide = 3 if _key(pod) in canvas.fresh else 1.2
    style = f"fill:{fill};stroke:{edge};stroke-width:{wide};stroke-dasharray:{dash or 'none'}"
    canvas.box(x, y, NODE - 16, ROW - 4, style, _tip(pod))
    name = title(pod.namespace, pod.name, canvas.namespace)
    told = "" if pod.state in ("Running", "Succeeded") else f" · {pod.state}"
    canvas.text(x + 7, y + 14, f"{sign} {short(name, NODE - 44 - len(told) * LETTER)}{told}", colour="#1a1a1a")


def _draw_square(canvas: _Canvas, pod: Pod, x: float, y: float) -> None:
    sign, fill, edge, dash = LOOKS[pod.state]
    wide = 3 if _key(pod) in canvas.fresh else 1.2
    style = f"fill:{fill};stroke:{edge};stroke-width:{wide};stroke-dasharray:{dash or 'none'}"
    canvas.box(x, y, CELL - 4, CELL - 4, style, _tip(pod))
    canvas.text(x + (CELL - 4) / 2, y + 12, sign, "text-anchor:middle;pointer-events:none;font-size:10px", "#1a1a1a")


def _draw_waiting(canvas: _Canvas, pods: list[Pod]) -> None:
    """Write who waits, those with the same reason together."""
    reasons: dict[str, list[Pod]] = {}
    for pod in pods:
        reasons.setdefault(pod.why or pod.state, []).append(pod)
    if reasons:
        canvas.line("? Waiting, no node has them", "font-weight:600")
    for reason, group in list(reasons.items())[:MOST_LINES]:
        names = ", ".join(title(pod.namespace, pod.name, canvas.namespace) for pod in group[:3])
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        canvas.line(f"{names}{more}", indent=14)
        canvas.line(reason, colour=QUIET, indent=28)
    if len(reasons) > MOST_LINES:
        canvas.line(f"and others, for {len(reasons) - MOST_LINES} more reasons", colour=QUIET, indent=14)


def _draw_resources(canvas: _Canvas, kind: str, found: tuple[Resource, ...] | None) -> None:
    canvas.line(kind, "font-weight:600")
    if not found:
        canvas.line("none" if found is not None else "the API server knows no such kind yet", colour=QUIET, indent=14)
        return
    sign, fill, edge, _ = OTHER
    x = MARGIN + 14.0
    for item in found[:MOST_BOXES]:
        name = title(item.namespace, item.name, canvas.namespace)
        told = short(f"{sign} {name}" + (f" · {item.state}" if item.state else ""), NODE - 20)
        width = len(told) * LETTER + 16
        if x + width > WIDTH - MARGIN:
            canvas.y, x = canvas.y + ROW, MARGIN + 14.0
        canvas.box(x, canvas.y, width, ROW - 4, f"fill:{fill};stroke:{edge};stroke-width:1.2", f"{name} {item.state}")
        canvas.text(x + 7, canvas.y + 14, told, colour="#1a1a1a")
        x += width + 8
    canvas.y += ROW + 2
    if len(found) > MOST_BOXES:
        canvas.line(f"and {len(found) - MOST_BOXES} more", colour=QUIET, indent=14)


def _draw_legend(canvas: _Canvas, world: World) -> None:
    states = {pod.state for pod in world.pods if pod.node}
    told = "   ".join(f"{look[0]} {state}" for state, look in LOOKS.items() if state in states)
    canvas.line(told or "no pod has a node", "font-size:11px;white-space:pre", QUIET)


def _key(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name}"


def _tip(pod: Pod) -> str:
    return f"{_key(pod)}: {pod.state}" + (f". {pod.why}" if pod.why else "")
