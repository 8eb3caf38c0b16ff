"""The map of notebook 01: the way of a request through Kubernetes, and where each family of extensions hooks in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from k8sext.notebook.display import Picture
from k8sext.notebook.palette import BLUE, LINE, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILIES = ("Clients", "API types", "Controllers", "Access control", "Scheduling", "Infrastructure")

STATION_FILL, STATION_EDGE = "#eef2f7", LINE
BADGE_FILL = BLUE.edge
SERVER_FILL = "#f9f6ee"


@dataclass(frozen=True)
class Station:
    """One stop on the way: where it stands in the picture, what happens there, and the families that hook in (1-6)."""

    name: str
    what: str
    left: float
    bottom: float
    families: tuple[int, ...] = ()


WIDTH, HEIGHT = 2.0, 1.0
STATIONS = (
    Station("kubectl,\nclients", "builds the request", 0.0, 3.2, (1,)),
    Station("authenti-\ncation", "who are you?", 3.0, 3.2, (4,)),
    Station("authori-\nsation", "may you do this?", 5.3, 3.2, (4,)),
    Station("decoding", "read it, convert it", 7.6, 3.2, (2,)),
    Station("mutating\nadmission", "fill in, change", 9.9, 3.2, (4,)),
    Station("schema", "is it well formed?", 12.2, 3.2, (2,)),
    Station("validating\nadmission", "allow or refuse", 14.5, 3.2, (4,)),
    Station("etcd", "store it", 17.5, 3.2),
    Station("controllers", "make it so", 3.0, 0.4, (3,)),
    Station("scheduler", "pick a node", 8.75, 0.4, (5,)),
    Station("kubelet\non a node", "run the containers", 14.5, 0.4, (6,)),
)


def request_map() -> Picture:
    """Draw the map. Returns a picture with alt text and a text twin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.6, 4.1), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.3, 19.8), ylim=(-1.0, 5.5))
    axes.set_axis_off()
    _draw_server(axes)
    for station in STATIONS:
        _draw_station(axes, station)
    for left, right in pairwise(STATIONS[:8]):
        _arrow(axes, (left.left + WIDTH, 3.7), (right.left, 3.7))
    for station in STATIONS[8:]:
        middle = station.left + WIDTH / 2
        _arrow(axes, (middle, 2.2), (middle, 0.4 + HEIGHT), both=True)
    _draw_legend(axes)
    return Picture(figure, ALT, text_twin())


ALT = (
    "A request runs from the client through authentication, authorisation, decoding, mutating admission, schema "
    "validation and validating admission, all inside the API server, to etcd. Below, controllers, scheduler and "
    "kubelet watch the API server. Numbered badges mark the extension families; the text after the figure lists them."
)


def text_twin() -> str:
    """Return the map in words: one line a station, with the families that hook in there."""
    lines = []
    for number, station in enumerate(STATIONS, start=1):
        name = station.name.replace("-\n", "").replace("\n", " ")
        hooks = ", ".join(f"({family}) {FAMILIES[family - 1]}" for family in station.families) or "no extensions"
        stop = "" if station.what.endswith("?") else "."
        lines.append(f"{number:2}. {name}: {station.what}{stop} Hook: {hooks}")
    head = "The way of a request (stations 2 to 7 are the API server; 9 to 11 watch it and send requests of their own):"
    return "\n".join([head, *lines])


def _draw_server(axes: Axes) -> None:
    from matplotlib.patches import FancyBboxPatch

    server = FancyBboxPatch(
        (2.6, 2.2), 14.3, 2.9, boxstyle="round,pad=0,rounding_size=0.2", facecolor=SERVER_FILL, edgecolor="#9c8f6a"
    )
    axes.add_patch(server)
    axes.text(9.75, 4.8, "API server", ha="center", va="center", fontsize=11, fontweight="bold")
    axes.text(9.75, 2.42, "answers every watch", ha="center", va="center", fontsize=9, style="italic")


def _draw_station(axes: Axes, station: Station) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch(
        (station.left, station.bottom),
        WIDTH,
        HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.15",
        facecolor=STATION_FILL,
        edgecolor=STATION_EDGE,
        linewidth=1.4,
    )
    axes.add_patch(box)
    middle = station.left + WIDTH / 2
    axes.text(middle, station.bottom + HEIGHT / 2, station.name, ha="center", va="center", fontsize=9.5)
    for family in station.families:
        _badge(axes, station.left + WIDTH - 0.05, station.bottom + HEIGHT, family)
    below = station.bottom - 0.14
    axes.text(middle, below, station.what, ha="center", va="top", fontsize=9, color="#333333")


def _badge(axes: Axes, x: float, y: float, family: int) -> None:
    axes.text(
        x,
        y,
        str(family),
        ha="center",
        va="center",
        fontsize=9,
        fontweight="bold",
        color="white",
        bbox={"boxstyle": "circle,pad=0.25", "facecolor": BADGE_FILL, "edgecolor": "white"},
        zorder=5,
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], both: bool = False) -> None:
    style = {"arrowstyle": "<|-|>" if both else "-|>", "color": STATION_EDGE, "linewidth": 1.3}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _draw_legend(axes: Axes) -> None:
    for place, name in enumerate(FAMILIES):
        x = 0.2 + place * 3.3
        _badge(axes, x, -0.7, place + 1)
        axes.text(x + 0.3, -0.7, name, ha="left", va="center", fontsize=9.5)
