"""The widgets of the view: what can be chosen, and the places where something is shown. All of them work by
keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from k8sext.notebook.view.drawing import clean
from k8sext.notebook.view.model import World
from k8sext.notebook.view.words import title

ALL = "all namespaces"


class Choice(NamedTuple):
    """An object that can be chosen: its kind as in a path ("pods"), its namespace (or nothing) and name."""

    kind: str
    namespace: str
    name: str


class Panel:
    """The widgets, by name. `on_use` is called when somebody used one of the first four."""

    def __init__(self, namespace: str | None, on_use: Callable[[], None]) -> None:
        import ipywidgets as widgets

        wide = widgets.Layout(width="auto")  # 100% and a margin are together more than there is
        beside = widgets.Layout(flex="1 1 420px", min_width="0")
        self._on_use = on_use
        self._offering = False
        self.namespaces: Any = widgets.Dropdown(
            options=[ALL, *([namespace] if namespace else [])], value=namespace or ALL, description="show"
        )
        self.pause: Any = widgets.ToggleButton(description="Pause", tooltip="Stop redrawing; press again to go on")
        self.words: Any = widgets.ToggleButton(description="In words", tooltip="Show the picture as text")
        self.objects: Any = widgets.Select(
            options=[], rows=9, description="look at", layout=widgets.Layout(flex="0 0 380px")
        )
        self.status, self.picture, self.events = (widgets.HTML(layout=wide) for _ in range(3))
        self.detail: Any = widgets.HTML(layout=beside)
        for field in (self.namespaces, self.pause, self.words, self.objects):
            field.observe(self._used, names="value")
        bar = widgets.HBox([self.namespaces, self.pause, self.words, self.status])
        about = widgets.HBox([self.objects, self.detail], layout=widgets.Layout(flex_flow="row wrap"))
        self.widget: Any = widgets.VBox([bar, self.picture, about, self.events], layout=wide)

    @property
    def namespace(self) -> str | None:
        """The namespace to show, None for all."""
        return None if self.namespaces.value == ALL else self.namespaces.value

    @property
    def paused(self) -> bool:
        """Whether nothing is to move."""
        return self.pause.value

    @property
    def in_words(self) -> bool:
        """Whether text is wanted in place of the picture."""
        return self.words.value

    @property
    def chosen(self) -> Choice | None:
        """The object somebody wants to know more about."""
        return self.objects.value

    def mimebundle(self) -> dict[str, Any]:
        """Return what a front end needs to draw the widgets."""
        return dict(self.widget._repr_mimebundle_() or {})

    def offer(self, everything: World, shown: World) -> None:
        """Offer the namespaces there are, and the objects that are shown."""
        found = {pod.namespace for pod in everything.pods} | {
            item.namespace for _, items in everything.resources for item in items or () if item.namespace
        }
        self._change(
            self.namespaces, [(name, name) for name in [ALL, *sorted(found | {self.namespace or ALL} - {ALL})]]
        )
        self._change(self.objects, _objects(shown, self.namespace))

    def tell(self, status: str) -> None:
        """Say how the view is doing."""
        _set(self.status, f'<span role="status">{clean(status)}</span>')

    def show(self, picture: str) -> None:
        """Show the picture (HTML)."""
        _set(self.picture, picture)

    def show_events(self, table: str) -> None:
        """Show recent events (HTML)."""
        _set(self.events, table)

    def show_detail(self, told: str) -> None:
        """Show what there is to tell about the chosen object (HTML)."""
        _set(self.detail, told)

    def end(self, status: str) -> None:
        """Say why nothing moves any more."""
        self.tell(status)
        for field in (self.namespaces, self.pause, self.words, self.objects):
            field.disabled = True

    def _used(self, _: Any) -> None:
        if not self._offering:
            self._on_use()

    def _change(self, field: Any, options: list[tuple[str, Any]]) -> None:
        """Give a list other entries and leave chosen what was chosen, if it is still there."""
        if list(field.options) == options:
            return
        chosen = field.value
        self._offering = True
        try:
            with field.hold_sync():
                field.options = options
                field.value = chosen if any(value == chosen for _, value in options) else None
        finally:
            self._offering = False


def _set(field: Any, value: str) -> None:
    if field.value != value:
        field.value = value


def _objects(world: World, namespace: str | None) -> list[tuple[str, Choice]]:
    """Every object with a label that also says its state; those that wait come first."""
    pods = sorted(world.pods, key=lambda pod: bool(pod.node))
    return [
        *(
            (f"pod {title(p.namespace, p.name, namespace)}: {p.state}", Choice("pods", p.namespace, p.name))
            for p in pods
        ),
        *(
            (
                f"{kind.split('.')[0]} {title(item.namespace, item.name, namespace)}",
                Choice(kind, item.namespace, item.name),
            )
            for kind, items in world.resources
            for item in items or ()
        ),
        *((f"node {node.name}", Choice("nodes", "", node.name)) for node in world.nodes),
    ]
