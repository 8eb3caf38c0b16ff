"""How objects waited for their initializers: a figure of what the API server stored, one state below the other.

The API server remembers its latest changes, and a watch can begin in the past. So nothing has to run while things
happen: a Recording notes where the past begins, and asks for all of it when the picture is wanted.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8sext.admission.initializers import model
from k8sext.kube.objects import Json
from k8sext.kube.resource import DEPLOYMENTS
from k8sext.notebook.display import Picture
from k8sext.notebook.palette import BLUE, GREY, INK, ORANGE, QUIET, Look, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WATCH_SECONDS = 1
ROW, HEAD, EDGE, BOX, TOLD = 0.44, 0.65, 0.2, 1.25, 2.95


@dataclass(frozen=True)
class State:
    """What was stored of an object: who still had to act, in order, its containers, and what had happened just
    before."""

    object: str
    told: str
    pending: tuple[str, ...]
    containers: tuple[str, ...]
    ended: bool = False


class Recording:
    """Remembers the moment in which it is made; `picture` shows what became of the Deployments created since."""

    def __init__(self, namespace: str) -> None:
        self._path = DEPLOYMENTS.collection(namespace)
        self._since = json.loads(_get(self._path))["metadata"]["resourceVersion"]

    def picture(self) -> Picture:
        """Ask for all changes since, and draw them. Raises subprocess.CalledProcessError when kubectl fails."""
        watch = f"{self._path}?watch=true&resourceVersion={self._since}&timeoutSeconds={WATCH_SECONDS}"
        return draw(states([json.loads(line) for line in _get(watch).splitlines()]))


def states(changes: list[Json]) -> list[State]:
    """The states of the objects that were created in these watch events, object by object, each said once."""
    found: dict[str, list[State]] = {
        change["object"]["metadata"]["name"]: [] for change in changes if change["type"] == "ADDED"
    }
    for change in changes:
        item = change["object"]
        if (before := found.get(item["metadata"]["name"])) is None:
            continue
        state = _state(change["type"], item, before[-1] if before else None)
        if not before or (state.pending, state.ended) != (before[-1].pending, before[-1].ended):
            before.append(state)
    return [state for several in found.values() for state in several]


def _state(change: str, item: Json, before: State | None) -> State:
    initializers = model.read(item) or model.Initializers()
    pending = tuple(name.partition(".")[0] for name in initializers.pending)
    containers = tuple(each["name"] for each in item["spec"]["template"]["spec"]["containers"])
    if change == "DELETED" or initializers.result:
        told = f"{before.pending[0]} refused it" if before and before.pending else "somebody deleted it"
        return State(item["metadata"]["name"], told, (), containers, ended=True)
    gone = [name for name in before.pending if name not in pending] if before else []
    told = f"{', '.join(gone)} wrote and left the queue" if gone else "stored"
    return State(item["metadata"]["name"], told, pending, containers)


def draw(found: list[State]) -> Picture:
    """Draw states: for each who waits, the first of the queue at the left, and what the object holds."""
    names = list(dict.fromkeys(state.object for state in found))
    longest = max((len(state.pending) for state in found), default=0)
    right = EDGE + TOLD + max(longest, 2) * (BOX + 0.15) + 0.2
    figure, axes = sheet(right + 2.4, HEAD + EDGE + ROW * (len(found) + len(names)))
    heads = ((EDGE, "what happened"), (EDGE + TOLD, "the queue (its front at the left)"), (right, "containers"))
    for x, head in heads:
        axes.text(x, 0.35, head, va="center", fontsize=9.5, style="italic", color=QUIET)
    y, lines = HEAD, []
    for name in names:
        axes.text(EDGE, y + ROW / 2, f"Deployment {name}", va="center", fontsize=10.5, fontweight="bold", color=INK)
        axes.plot([EDGE, right + 2.2], [y + 0.04] * 2, color=GREY.edge, linewidth=0.6)
        lines.append(f"Deployment {name}")
        for state in (state for state in found if state.object == name):
            y += ROW
            _draw_state(axes, state, y + ROW / 2, right)
            lines.append(f"  {state.told}: {_in_words(state)}")
        y += ROW
    alt = f"The queue of initializers of {' and '.join(names)}, state by state; the text after the figure tells them."
    return Picture(figure, alt, "\n".join(lines))


def _draw_state(axes: Axes, state: State, y: float, right: float) -> None:
    axes.text(EDGE + 0.15, y, state.told, va="center", fontsize=9.5, color=INK)
    x = EDGE + TOLD
    for place, name in enumerate(state.pending):
        _draw_box(axes, x + place * (BOX + 0.15), y, f"▶ {name}" if place == 0 else name, GREY if place else BLUE)
    if not state.pending:
        _draw_box(axes, x, y, "✗ removed" if state.ended else "✓ let loose", ORANGE if state.ended else BLUE)
    axes.text(right, y, "–" if state.ended else ", ".join(state.containers), va="center", fontsize=9.5, color=INK)


def _draw_box(axes: Axes, x: float, y: float, words: str, look: Look) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y - 0.16), BOX, 0.32, facecolor=look.fill, edgecolor=look.edge))
    axes.text(x + BOX / 2, y, words, ha="center", va="center", fontsize=9.5, color=INK)


def _in_words(state: State) -> str:
    if state.ended:
        return "it is removed"
    containers = f"containers {', '.join(state.containers)}"
    if not state.pending:
        return f"nobody is left, it is let loose; {containers}"
    return f"{', then '.join(state.pending)} to act; {containers}"


def _get(path: str) -> str:
    return subprocess.run(["kubectl", "get", "--raw", path], capture_output=True, text=True, check=True).stdout
