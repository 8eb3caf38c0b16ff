"""The colours of all figures. They stay apart for colour-blind readers, and none of them carries a meaning alone.

Figures stand on white paper, which they bring along: so they read the same in JupyterLab's light and dark theme and on
GitHub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Look(NamedTuple):
    """How a shape is drawn: its tint, and the colour of its edge, in which words on white are readable as well."""

    fill: str
    edge: str


PAPER, INK, QUIET, LINE = "#ffffff", "#222222", "#4a5560", "#44546a"
BLUE = Look("#cfe3f5", "#1f4e79")
ORANGE = Look("#f7d9c9", "#9c3a00")
SAND = Look("#f2e6d0", "#7a5600")
GREY = Look("#f0f0f0", "#5c5c5c")


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A white sheet of this size in inches, and axes with the same units whose y grows downwards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes
