"""Who calls whom, one call below the other: a sequence diagram of recorded calls (k8sext.notebook.calls)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from k8sext.notebook.calls import Call
from k8sext.notebook.display import Picture
from k8sext.notebook.palette import BLUE, INK, LINE, SAND, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LANE, BOX, HEAD, ROW, EDGE = 2.7, 1.9, 0.75, 0.36, 0.25


def sequence(
    title: str, calls: Iterable[Call], ways: Mapping[str, tuple[str, str]], headings: Mapping[str, str] | None = None
) -> Picture:
    """Draw calls from top to bottom.

    `ways` says of each service who calls it and who answers; both become lanes, in the order in which they come first.
    `headings` gives words to a method with which something new begins. A call to a service without a way raises
    KeyError.
    """
    calls, headings = list(calls), headings or {}
    lanes = list(dict.fromkeys(end for way in ways.values() for end in way))
    rows = len(calls) + sum(call.method in headings for call in calls)
    figure, axes = sheet(2 * EDGE + BOX + LANE * (len(lanes) - 1), HEAD + EDGE + ROW * rows)
    for lane in range(len(lanes)):
        _draw_lane(axes, lane, lanes[lane], HEAD + ROW * rows)
    y, lines = HEAD, [title]
    for number, call in enumerate(calls, start=1):
        if words := headings.get(call.method):
            _draw_heading(axes, len(lanes), words, y)
            y += ROW
            lines.append(f"{words}:")
        sender, receiver = ways[call.service]
        _draw_call(axes, lanes.index(sender), lanes.index(receiver), f"{number}  {call.method}", y)
        y += ROW
        lines.append(f"  {number:2}. {sender} -> {receiver}: {call.method}")
    alt = (
        f"{title}: a sequence diagram with {len(calls)} calls between {', '.join(lanes)}, which the text after it "
        "lists."
    )
    return Picture(figure, alt, "\n".join(lines))


def _middle(lane: int) -> float:
    return EDGE + BOX / 2 + LANE * lane


def _draw_lane(axes: Axes, lane: int, name: str, bottom: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.plot([_middle(lane)] * 2, [0.55, bottom], color=LINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    corners = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch(
        (_middle(lane) - BOX / 2, 0.15), BOX, 0.4, boxstyle=corners, facecolor=BLUE.fill, edgecolor=BLUE.edge
    )
    axes.add_patch(box)
    axes.text(_middle(lane), 0.35, name, ha="center", va="center", fontsize=10, color=INK)


def _draw_heading(axes: Axes, lanes: int, words: str, y: float) -> None:
    from matplotlib.patches import Rectangle

    width = BOX + LANE * (lanes - 1)
    axes.add_patch(Rectangle((EDGE, y + 0.04), width, ROW - 0.08, facecolor=SAND.fill, edgecolor="none", zorder=2))
    axes.text(EDGE + width / 2, y + ROW / 2, words, ha="center", va="center", fontsize=9.5, style="italic", color=INK)


def _draw_call(axes: Axes, sender: int, receiver: int, words: str, y: float) -> None:
    start, end, line = _middle(sender), _middle(receiver), y + ROW * 0.75
    style = {"arrowstyle": "-|>", "color": BLUE.edge, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(end, line), xytext=(start, line), arrowprops=style, zorder=3)
    axes.plot([start], [line], marker="o", markersize=3.5, color=BLUE.edge, zorder=3)
    middle = min(start, end) + LANE / 2  # between the first two lanes, so that no other lane's line goes through it
    axes.text(middle, line - 0.03, words, ha="center", va="bottom", fontsize=9.5, color=INK)
