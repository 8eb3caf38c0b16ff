"""Where pods are: nodes by zone with the pods on them, those that wait with the reason, and a playground for
constraints.

`placement` reads the cluster by kubectl and draws; `Playground` shows beforehand where a pod with certain constraints
may land.
"""

from __future__ import annotations

import json
import subprocess
import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from k8sext.kube.objects import Json
from k8sext.kube.pod import requests
from k8sext.kube.quantity import amounts
from k8sext.notebook import palette
from k8sext.notebook.display import Picture
from k8sext.notebook.view.model import ZONE, marks, why, zone_of
from k8sext.scheduling import Explanation, explain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FREE, TAKEN, TAINTED = palette.PAPER, palette.BLUE.fill, palette.SAND.fill
LINE = palette.QUIET
CELL = 'style="text-align:left;padding:1px 12px 1px 0"'
NODE_WIDTH, NODE_HEIGHT, POD_HEIGHT = 3.0, 0.75, 0.34


@dataclass(frozen=True)
class Snapshot:
    """Nodes, the pods of one namespace, and all pods that take room on nodes; as JSON."""

    nodes: list[Json]
    pods: list[Json]
    everywhere: list[Json]


def read_snapshot(namespace: str) -> Snapshot:
    """Ask kubectl for nodes and pods. Raises subprocess.CalledProcessError when it fails."""
    nodes, pods = (_items("get", kind, "--all-namespaces") for kind in ("nodes", "pods"))
    return Snapshot(nodes, [pod for pod in pods if pod["metadata"]["namespace"] == namespace], pods)


def _items(*arguments: str) -> list[Json]:
    done = subprocess.run(["kubectl", *arguments, "-o", "json"], capture_output=True, text=True, check=True)
    return sorted(json.loads(done.stdout)["items"], key=lambda item: item["metadata"]["name"])


def placement(namespace: str) -> Picture:
    """Draw where the pods of a namespace are now."""
    snapshot = read_snapshot(namespace)
    text = describe(snapshot)
    return Picture(_draw(snapshot), f"Pods of the namespace {namespace} on the nodes of the cluster. {text}", text)


def describe(snapshot: Snapshot) -> str:
    """Say in words where the pods are, a line for each zone, node and waiting pod."""
    lines = []
    for zone, nodes in _zones(snapshot.nodes).items():
        lines.append(f"zone {zone}")
        for node in nodes:
            names = ", ".join(pod["metadata"]["name"] for pod in _on(snapshot, node)) or "-"
            lines.append(f"  {' '.join(filter(None, (node['metadata']['name'], marks(node))))}: {names}")
    return "\n".join([*lines, *(f"waiting: {pod['metadata']['name']}: {why(pod)}" for pod in _waiting(snapshot))])


def _zones(nodes: list[Json]) -> dict[str, list[Json]]:
    zones: dict[str, list[Json]] = {}
    for node in nodes:
        zones.setdefault(zone_of(node), []).append(node)
    return dict(sorted(zones.items()))


def _on(snapshot: Snapshot, node: Json) -> list[Json]:
    return _alive_on(snapshot.pods, node)


def _alive_on(pods: list[Json], node: Json) -> list[Json]:
    here = [pod for pod in pods if pod["spec"].get("nodeName") == node["metadata"]["name"]]
    return [pod for pod in here if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def _waiting(snapshot: Snapshot) -> list[Json]:
    return [pod for pod in snapshot.pods if not pod["spec"].get("nodeName")]


def _draw(snapshot: Snapshot) -> Any:
    from matplotlib.figure import Figure

    zones = _zones(snapshot.nodes)
    most = max((len(_on(snapshot, node)) for node in snapshot.nodes), default=0)
    row = NODE_HEIGHT + POD_HEIGHT * max(most, 1) + 0.5
    wide = max((len(nodes) for nodes in zones.values()), default=1) * (NODE_WIDTH + 0.3)
    waiting = [
        line
        for pod in _waiting(snapshot)
        for line in textwrap.wrap(f"waiting: {pod['metadata']['name']}: {why(pod)}", 105, subsequent_indent="    ")
    ]
    height = len(zones) * row + 0.3 * len(waiting) + 0.2
    figure = Figure(figsize=(max(wide, 7.0), max(height, 1.5)), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, max(wide, 7.0)), ylim=(height, 0))
    axes.set_axis_off()
    for number, (zone, nodes) in enumerate(zones.items()):
        axes.text(0.1, number * row + 0.15, f"zone {zone}", fontsize=9, color=LINE)
        for place, node in enumerate(nodes):
            _draw_node(axes, snapshot, node, 0.1 + place * (NODE_WIDTH + 0.3), number * row + 0.3, row - 0.45)
    for number, line in enumerate(waiting):
        axes.text(0.1, len(zones) * row + 0.2 + 0.3 * number, line, fontsize=8)
    return figure


def _reserved(snapshot: Snapshot, node: Json) -> str:
    """How many of the node's processors the pods on it have reserved, those of other namespaces included."""
    taken = sum(requests(pod).get("cpu", 0) for pod in _alive_on(snapshot.everywhere, node))
    whole = amounts(node.get("status", {}).get("allocatable")).get("cpu", 0)
    return f"{taken / 1000:g} of {whole / 1000:g} processors reserved"


def _draw_node(axes: Axes, snapshot: Snapshot, node: Json, left: float, top: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    colour = TAINTED if node["spec"].get("taints") else FREE
    axes.add_patch(Rectangle((left, top), NODE_WIDTH, height, facecolor=colour, edgecolor=LINE))
    axes.text(left + 0.1, top + 0.18, node["metadata"]["name"], fontsize=9, va="center", weight="bold")
    axes.text(left + 0.1, top + 0.38, marks(node), fontsize=8, va="center")
    axes.text(left + 0.1, top + 0.57, _reserved(snapshot, node), fontsize=8, va="center", color=LINE)
    for number, pod in enumerate(_on(snapshot, node)):
        y = top + NODE_HEIGHT + number * POD_HEIGHT
        axes.add_patch(Rectangle((left + 0.1, y), NODE_WIDTH - 0.2, POD_HEIGHT - 0.06, facecolor=TAKEN, edgecolor=LINE))
        axes.text(left + 0.2, y + POD_HEIGHT / 2 - 0.03, pod["metadata"]["name"], fontsize=8, va="center")


class Playground:
    """Fields that make up a pod, and a table, always up to date, of where it would land and why not elsewhere.

    `verdict` is the table; the fields are `cpu`, `zone` and `tolerate`. Shown in a cell they can be moved; elsewhere
    the table is shown.
    """

    def __init__(self, namespace: str) -> None:
        import ipywidgets

        self._snapshot = read_snapshot(namespace)
        zones = ["any", *(zone for zone in _zones(self._snapshot.nodes) if zone != "none")]
        self.cpu = ipywidgets.FloatSlider(value=0.5, min=0, max=8, step=0.5, description="processors")
        self.zone = ipywidgets.Dropdown(options=zones, description="zone")
        self.tolerate = ipywidgets.Checkbox(value=False, description="tolerates every taint")
        self._table = ipywidgets.HTML()
        for field in (self.cpu, self.zone, self.tolerate):
            field.observe(self._judge, names="value")
        self._judge(None)

    @property
    def pod(self) -> Json:
        """The pod that the fields make up."""
        spec: Json = {"containers": [{"name": "main", "resources": {"requests": {"cpu": str(self.cpu.value)}}}]}
        if self.zone.value != "any":
            spec["nodeSelector"] = {ZONE: self.zone.value}
        if self.tolerate.value:
            spec["tolerations"] = [{"operator": "Exists"}]
        return {"metadata": {"name": "playground", "namespace": "default", "uid": ""}, "spec": spec}

    def _judge(self, _: Any) -> None:
        self.verdict: Explanation = explain(self.pod, self._snapshot.nodes, self._snapshot.everywhere)
        cells = ("".join(f"<td {CELL}>{escape(cell)}</td>" for cell in row) for row in self.verdict.rows())
        rows = "".join(f"<tr>{row}</tr>" for row in cells)
        head = "".join(f'<th scope="col" {CELL}>{word}</th>' for word in ("node", "verdict", "because"))
        self._table.value = f"<table><tr>{head}</tr>{rows}</table>"

    def __repr__(self) -> str:
        return repr(self.verdict)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        import ipywidgets

        box: Any = ipywidgets.VBox([self.cpu, self.zone, self.tolerate, self._table])
        return dict(box._repr_mimebundle_() or {}) | {"text/plain": repr(self)}
