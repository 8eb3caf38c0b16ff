"""One decision of a scheduler as a figure: which nodes are left after each phase, from what the scheduler wrote on the
pod.

A pod with the annotation `scheduling.k8sext.io/explain: "true"` carries the tables of its decision
(k8sext.scheduling.explanation).
"""

from __future__ import annotations

import json
import subprocess
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8sext.notebook.display import Picture
from k8sext.notebook.palette import BLUE, GREY, INK, LINE, ORANGE, Look, sheet
from k8sext.scheduling.explanation import PREFIX

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PHASES = ("queue", "Filter", "Score", "Reserve", "Bind")
"""The phases of the scheduling framework in which something is to be seen."""
TOP, ROW, BOX, WIDE, STEP, EDGE = 0.65, 0.8, 0.64, 1.75, 2.05, 0.2


@dataclass(frozen=True)
class Decided:
    """A decision: who was rejected and why, the points of the others, the chosen node, and the node that the pod was
    bound to."""

    pod: str
    rejected: dict[str, str]
    points: dict[str, float]
    chosen: str
    bound: str

    @property
    def nodes(self) -> list[str]:
        """All nodes there were to choose from."""
        return sorted(self.rejected.keys() | self.points.keys())


def phases(namespace: str, pod: str) -> Picture:
    """Draw the decision about a pod that asked for an explanation. Raises KeyError for a pod that carries none,
    CalledProcessError."""
    command = ["kubectl", "get", "pod", pod, "-n", namespace, "-o", "json"]
    return draw(decision(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)))


def decision(pod: dict[str, Any]) -> Decided:
    """Read a decision from a pod. Raises KeyError when no scheduler has explained one there."""
    notes = pod["metadata"]["annotations"]
    points = {node: float(sum(parts.values())) for node, parts in json.loads(notes[f"{PREFIX}/scores"]).items()}
    rejected = json.loads(notes[f"{PREFIX}/filters"])
    chosen = notes[f"{PREFIX}/node"]
    return Decided(pod["metadata"]["name"], rejected, points, chosen, pod["spec"].get("nodeName", ""))


def draw(decided: Decided) -> Picture:
    """Draw a decision: a column for each phase, and in it the nodes that are left."""
    nodes = decided.nodes
    middle = TOP + ROW * len(nodes) / 2
    figure, axes = sheet(_left(len(PHASES) - 1) + WIDE + EDGE, TOP + ROW * len(nodes) + 0.1)
    for place, phase in enumerate(PHASES):
        words = f"{place + 1}  {phase}"
        axes.text(_left(place) + WIDE / 2, 0.35, words, ha="center", va="center", fontsize=11, fontweight="bold")
        if place:
            style = {"arrowstyle": "-|>", "color": LINE}
            axes.annotate("", xy=(_left(place), middle), xytext=(_left(place - 1) + WIDE, middle), arrowprops=style)
    _draw_box(axes, 0, middle, f"pod {decided.pod}", "no node yet", BLUE)
    for row, node in enumerate(nodes):
        _draw_node(axes, decided, node, TOP + ROW * (row + 0.5))
    _draw_box(axes, 4, middle, f"pod {decided.pod}", f"on {decided.bound}", BLUE)
    alt = f"The five phases of the decision about the pod {decided.pod}; the text after the figure tells who was left."
    return Picture(figure, alt, text_twin(decided))


def text_twin(decided: Decided) -> str:
    """The decision in words, a line for each phase."""
    fit = sorted(decided.points)
    rejected = "".join(f"; {node} is out ({reason})" for node, reason in sorted(decided.rejected.items()))
    return "\n".join(
        [
            f"1. queue: the pod {decided.pod} has no node, {len(decided.nodes)} nodes are there",
            f"2. Filter: {', '.join(fit)} fit{rejected}",
            f"3. Score: {', '.join(f'{node} {_points(decided, node)}' for node in fit)}",
            f"4. Reserve: {decided.chosen}",
            f"5. Bind: the pod {decided.pod} is on {decided.bound}",
        ]
    )


def _draw_node(axes: Axes, decided: Decided, node: str, y: float) -> None:
    if node in decided.rejected:
        _draw_box(axes, 1, y, f"✗ {node}", decided.rejected[node], ORANGE)
        return
    chosen = node == decided.chosen
    _draw_box(axes, 1, y, f"✓ {node}", "fits", BLUE)
    _draw_box(axes, 2, y, node, _points(decided, node), BLUE)
    _draw_box(axes, 3, y, f"{'★ ' * chosen}{node}", "chosen" if chosen else "not chosen", BLUE if chosen else GREY)


def _points(decided: Decided, node: str) -> str:
    """The points of a node; a scheduler that gives none to anybody draws lots."""
    return f"{decided.points[node]:g} points" if any(decided.points.values()) else "no points, by lot"


def _left(place: int) -> float:
    return EDGE + STEP * place


def _draw_box(axes: Axes, place: int, y: float, name: str, told: str, look: Look) -> None:
    from matplotlib.patches import Rectangle

    style = "solid" if look is BLUE else "dashed"
    box = Rectangle((_left(place), y - BOX / 2), WIDE, BOX, facecolor=look.fill, edgecolor=look.edge, linestyle=style)
    axes.add_patch(box)
    lines = textwrap.wrap(told, 24)
    axes.text(_left(place) + WIDE / 2, y - 0.1 * len(lines), name, ha="center", va="center", fontsize=9.5, color=INK)
    axes.text(
        _left(place) + WIDE / 2,
        y + 0.14,
        "\n".join(lines),
        ha="center",
        va="center",
        fontsize=8,
        color=INK,
        linespacing=1.1,
    )
