"""The trace of one request, to look at: as a picture with a text twin (`trace_picture`), or live (`TraceView`).

The text twin leaves out what differs from run to run: numbers of versions and milliseconds stand in the picture only.
"""

from __future__ import annotations

import html
import itertools
import re
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets

from k8sext.admission.audit import AuditLog
from k8sext.admission.server import Call
from k8sext.admission.trace import STAGES, Stage, Trace, trace_of
from k8sext.notebook.display import Picture
from k8sext.notebook.palette import BLUE, GREY, INK, LINE, ORANGE, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Every state has a sign and a kind of border of its own: colour alone says nothing.
LOOKS = {
    "passed": ("✓", *BLUE, "solid"),
    "stopped": ("✗", *ORANGE, "solid"),
    "not reached": ("·", *GREY, "dotted"),
    "not needed": ("–", PAPER, GREY.edge, "dashed"),
}
STEP = 0.25
BOX = 1.7
_numbers = itertools.count(1)


def trace_picture(trace: Trace) -> Picture:
    """Draw one trace: its stages, how far the request came, how we know, and how long each stage took."""
    from matplotlib.figure import Figure

    told = [_told(stage) for stage in trace.stages]
    lines = max(text.count("\n") + 1 for text in told)
    bottom = 1.75 - 0.18 * lines
    figure = Figure(figsize=(10.8, (3.3 - bottom) * 0.9), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.05, len(STAGES) * 2.0 - 0.1), ylim=(bottom, 3.1))
    axes.set_axis_off()
    axes.set_title(f"{trace.request}: {trace.code} after {trace.milliseconds:.1f} ms", loc="left", fontsize=11)
    for place, stage in enumerate(trace.stages):
        _draw(axes, place * 2.0, stage, told[place])
    where = f"stopped at {trace.stopped_at}" if trace.stopped_at else "reached etcd"
    alt = f"The request {trace.request} {where}. The text after the figure tells what happened at each stage."
    return Picture(figure, alt, text_twin(trace))


def text_twin(trace: Trace) -> str:
    """The trace in words, one line a stage."""
    lines = [f"{trace.request} -> {trace.code}"]
    for stage in trace.stages:
        sign = LOOKS[stage.state][0]
        evidence = re.sub(r"(resource version) \d+", r"\1 ...", " ".join(stage.evidence.split()))
        lines.append(f"  {sign} {stage.name}: {stage.state}" + (f". {evidence}" if evidence else ""))
    return "\n".join(lines)


def _told(stage: Stage) -> str:
    return textwrap.fill(textwrap.shorten(stage.evidence, 140, placeholder=" ..."), 22)


def _draw(axes: Axes, left: float, stage: Stage, told: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    sign, fill, edge, line = LOOKS[stage.state]
    box = FancyBboxPatch(
        (left, 2.3), BOX, 0.7, boxstyle="round,pad=0,rounding_size=0.12", facecolor=fill, edgecolor=edge, linestyle=line
    )
    axes.add_patch(box)
    middle = left + BOX / 2
    axes.text(middle, 2.65, f"{sign} {stage.name}", ha="center", va="center", fontsize=9.5, color=INK)
    if stage.name != STAGES[-1]:
        style = {"arrowstyle": "-|>", "color": LINE}
        axes.annotate("", xy=(left + 2.0, 2.65), xytext=(left + BOX, 2.65), arrowprops=style)
    took = _took(stage) or stage.state
    axes.text(middle, 2.2, took, ha="center", va="top", fontsize=9, fontweight="bold", color=edge)
    axes.text(left, 1.9, told, ha="left", va="top", fontsize=8, color=INK, linespacing=1.15)


def _took(stage: Stage) -> str:
    if stage.milliseconds is not None:
        return f"{stage.milliseconds:.1f} ms"
    return f"at most {stage.at_most:.1f} ms" if stage.at_most is not None else ""


class TraceView(ipywidgets.HTML):
    """The last request, live: its stages light up one after another. Close it with `close()`.

    It reads the audit log with a position of its own. `calls` returns the calls that the webhooks have seen; `wanted`
    chooses the requests that are worth showing.
    """

    def __init__(
        self,
        log: AuditLog,
        calls: Callable[[], Sequence[Call]],
        wanted: Callable[[dict[str, Any]], bool],
        step: float = STEP,
    ) -> None:
        # A number of our own instead of a random one, so that an executed notebook is the same every time.
        super().__init__(value="<p>Waiting for a request ...</p>", model_id=f"trace-view-{next(_numbers)}")
        self._log, self._calls, self._wanted, self._step = log, calls, wanted, step
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="trace view", daemon=True)
        log.refresh()
        self._thread.start()

    def __repr__(self) -> str:
        return "TraceView: the last request's way, live (run the notebook in JupyterLab to see it)"

    def close(self) -> None:
        """Stop following, and close the widget."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        super().close()

    def _follow(self) -> None:
        while not self._ended.wait(0.1):
            for event in self._log.refresh():
                if self._wanted(event):
                    self._show(trace_of(event, self._calls()))

    def _show(self, trace: Trace) -> None:
        """Light up stage after stage; nothing is shown that the evidence does not hold."""
        for lit in range(1, len(STAGES) + 1):
            self.value = _html(trace, lit)
            if trace.stages[lit - 1].state == "stopped" or self._ended.wait(self._step):
                break
        self.value = _html(trace, len(STAGES))


def _html(trace: Trace, lit: int) -> str:
    cells = "".join(
        _cell(stage if place < lit else Stage(stage.name, "not reached", ""))
        for place, stage in enumerate(trace.stages)
    )
    head = f"{trace.request}: {trace.code} after {trace.milliseconds:.1f} ms" if lit == len(STAGES) else trace.request
    row = f'<ol style="display:flex;gap:6px;padding:0;list-style:none">{cells}</ol>'
    return f'<p aria-live="polite"><b>{html.escape(head)}</b></p>{row}'


def _cell(stage: Stage) -> str:
    sign, fill, edge, line = LOOKS[stage.state]
    style = f"flex:1;background:{fill};color:#222;border:2px {line} {edge};border-radius:8px;"
    style += "padding:6px;font-size:12px;line-height:1.3"
    took = f"<br><b>{took}</b>" if (took := _took(stage)) else ""
    told = html.escape(textwrap.shorten(stage.evidence, 160, placeholder=" ..."))
    return f'<li style="{style}"><b>{sign} {stage.name}</b><br>{stage.state}{took}<br>{told}</li>'
