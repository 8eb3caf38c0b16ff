"""What is worth showing of the objects of a cluster: a few words each, taken from the JSON that the API server
sends."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from k8sext.kube.objects import Json
from k8sext.kube.pod import all_statuses

ZONE = "topology.kubernetes.io/zone"
ORDINARY_WAITS = ("ContainerCreating", "PodInitializing", "")
EVENTS_KEPT = 1000


@dataclass(frozen=True)
class Node:
    """A node: `marks` are its taints in brackets, as far as they say more than that it is not ready."""

    name: str
    zone: str
    marks: str
    ready: bool


@dataclass(frozen=True)
class Pod:
    """A pod: `state` is one of drawing.LOOKS, `why` says why it is in that state where somebody told."""

    namespace: str
    name: str
    node: str
    state: str
    why: str


@dataclass(frozen=True)
class Resource:
    """An object of a chosen kind, with its state in a word or two."""

    kind: str
    namespace: str
    name: str
    state: str


@dataclass(frozen=True)
class Happening:
    """An event: who told what about which object, and how often."""

    uid: str
    time: str
    namespace: str
    about: str
    type: str
    reason: str
    message: str
    count: int


@dataclass(frozen=True)
class World:
    """All that the view shows at one moment. A kind that the API server does not know is None in `resources`."""

    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    resources: tuple[tuple[str, tuple[Resource, ...] | None], ...] = ()
    events: tuple[Happening, ...] = ()

    def only(self, namespace: str | None) -> World:
        """Return what belongs to one namespace, and all nodes. None: everything."""
        if namespace is None:
            return self
        resources = tuple(
            (kind, None if found is None else tuple(item for item in found if item.namespace in (namespace, "")))
            for kind, found in self.resources
        )
        return replace(
            self,
            pods=tuple(pod for pod in self.pods if pod.namespace == namespace),
            resources=resources,
            events=tuple(event for event in self.events if event.namespace == namespace),
        )

    def waiting(self) -> list[Pod]:
        """Return the pods that no node has."""
        return [pod for pod in self.pods if not pod.node]

    def on(self, node: Node) -> list[Pod]:
        """Return the pods of a node."""
        return [pod for pod in self.pods if pod.node == node.name]

    def summary(self) -> str:
        """Say in one line how many there are of what."""
        states = Counter(pod.state for pod in self.pods)
        counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        return f"{_count(len(self.nodes), 'node')}, {_count(len(self.pods), 'pod')}" + (counted and f": {counted}")


def world_of(nodes: Iterable[Json], pods: Iterable[Json], resources: dict[str, list[Json] | None]) -> World:
    """Make a world, without events, from objects as the API server sends them."""
    return World(
        tuple(sorted(map(node_of, nodes), key=lambda node: (node.zone, node.name))),
        tuple(sorted(map(pod_of, pods), key=lambda pod: (pod.namespace, pod.name))),
        tuple((kind, None if items is None else _resources(kind, items)) for kind, items in resources.items()),
    )


def node_of(node: Json) -> Node:
    """Return what is worth showing of a node."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(node))
    return Node(node["metadata"]["name"], zone_of(node), marks(node), ready)


def zone_of(node: Json) -> str:
    """Return a node's zone, or "none"."""
    return (node["metadata"].get("labels") or {}).get(ZONE, "none")


def marks(node: Json) -> str:
    """Say what keeps pods away from a node: its taints in brackets, or nothing."""
    taints = [f"{taint['key'].rpartition('/')[2]}:{taint['effect']}" for taint in node["spec"].get("taints") or ()]
    return f"[{', '.join(taints)}]" if taints else ""


def pod_of(pod: Json) -> Pod:
    """Return what is worth showing of a pod."""
    metadata = pod["metadata"]
    state, told = _state(pod)
    return Pod(metadata["namespace"], metadata["name"], pod["spec"].get("nodeName", ""), state, told)


def why(pod: Json) -> str:
    """Say why no node has a pod: the message of its condition PodScheduled, without what was thought about eviction."""
    message = next((c.get("message", "") for c in _conditions(pod) if c["type"] == "PodScheduled"), "")
    return message.split(". ")[0].rstrip(".") or "no scheduler has looked at it"


def happening_of(event: Json) -> Happening:
    """Return what is worth showing of an event (core/v1)."""
    about, series = event["involvedObject"], event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return Happening(
        event["metadata"]["uid"],
        next((time for time in times if time), event["metadata"].get("creationTimestamp") or ""),
        about.get("namespace", event["metadata"]["namespace"]),
        f"{about.get('kind', '').lower()} {about.get('name', '')}",
        event.get("type", ""),
        event.get("reason", ""),
        event.get("message") or "",
        series.get("count") or event.get("count") or 1,
    )


class Ring:
    """The last events, each once, however often it is told again."""

    def __init__(self, size: int = EVENTS_KEPT) -> None:
        self._size = size
        self._events: OrderedDict[str, Happening] = OrderedDict()

    def put(self, event: Happening) -> None:
        """Remember an event as the last one, and forget the oldest beyond the ring's size."""
        self._events.pop(event.uid, None)
        self._events[event.uid] = event
        while len(self._events) > self._size:
            self._events.popitem(last=False)

    def all(self) -> tuple[Happening, ...]:
        """Return what is remembered, the latest last."""
        return tuple(self._events.values())


def _state(pod: Json) -> tuple[str, str]:
    """Return a pod's state and the reason for it."""
    status = pod.get("status") or {}
    phase = status.get("phase", "Pending")
    ready = next((c for c in _conditions(pod) if c["type"] == "Ready"), {})
    trouble = _trouble(pod)
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating", ""
    if phase in ("Succeeded", "Failed"):
        return phase, status.get("message") or status.get("reason") or ""
    if not pod["spec"].get("nodeName"):
        return "Waiting", why(pod)
    if trouble:
        return "In trouble", trouble
    if phase == "Running":
        return ("Running", "") if ready.get("status") == "True" else ("Not ready", ready.get("message") or "")
    return "Starting", status.get("message") or ""


def _trouble(pod: Json) -> str:
    """Say which container waits for another reason than that it is being made."""
    for container in all_statuses(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", "") not in ORDINARY_WAITS:
            return ": ".join(part for part in (waiting["reason"], waiting.get("message", "")) if part)
    return ""


def _resources(kind: str, items: list[Json]) -> tuple[Resource, ...]:
    found = (
        Resource(kind, item["metadata"].get("namespace", ""), item["metadata"]["name"], _resource_state(item))
        for item in items
    )
    return tuple(sorted(found, key=lambda item: (item.namespace, item.name)))


def _resource_state(item: Json) -> str:
    """Return status.state or status.phase, else what the condition Ready says."""
    status = item.get("status")
    if not isinstance(status, dict):
        return ""
    for field in ("state", "phase"):
        if isinstance(status.get(field), str):
            return status[field]
    ready = next((c for c in _conditions(item) if c.get("type") == "Ready"), {})
    return {"True": "Ready", "False": "not Ready"}.get(ready.get("status", ""), "")


def _conditions(item: Json) -> list[Json]:
    status = item.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return [c for c in conditions if isinstance(c, dict) and "type" in c] if isinstance(conditions, list) else []


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
