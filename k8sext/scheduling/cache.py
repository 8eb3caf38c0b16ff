"""The cache: which pods are on which node, as the API server says, and as we assume where it has not said so yet.

Between a decision and the moment the watch tells of it lie milliseconds in which other pods are placed. So a pod is
*assumed* on its node at once (Reserve); if the binding fails, it is *forgotten* (Unreserve). Source: kube-scheduler's
scheduler cache (pkg/scheduler/backend/cache).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from k8sext.kube.objects import Json
from k8sext.scheduling.selectors import NO_LABELS, Labels
from k8sext.scheduling.snapshot import NodeInfo, PodInfo, read_pod


class Cache:
    """All nodes with the pods on them. `epoch` rises when what was known of all nodes is worth nothing any more."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.epoch = 0
        self._generation = 0
        self._recent: OrderedDict[str, NodeInfo] = OrderedDict()  # the node that changed last stands last
        self._places: dict[str, str] = {}  # pod key -> node name
        self._assumed: set[str] = set()
        self._nodeless: dict[str, dict[str, PodInfo]] = {}  # pods by the name of a node that we have not heard of (yet)
        self._namespaces: dict[str, Labels] = {}

    def changed_since(self, generation: int) -> Iterator[NodeInfo]:
        """Yield the nodes that changed after a generation, the latest first."""
        for node in reversed(self._recent.values()):
            if node.generation <= generation:
                return
            yield node

    @property
    def generation(self) -> int:
        """The generation of the latest change."""
        return self._generation

    def read(self, item: Json) -> PodInfo:
        """Read a pod's JSON, with the labels of its namespace. Raises ValueError when it cannot be read."""
        return read_pod(item, self._namespaces.get(item["metadata"].get("namespace", "default"), NO_LABELS))

    def fresh(self, pod: PodInfo) -> PodInfo:
        """Return the pod, read again if the labels of its namespace have changed since."""
        known = self._namespaces.get(pod.namespace, NO_LABELS)
        return pod if pod.namespace_labels is known else self.read(pod.item)

    def set_node(self, item: Json) -> None:
        """A node came or changed."""
        name = item["metadata"]["name"]
        if name in self.nodes:
            self.nodes[name].set(item)
        else:
            self.nodes[name] = NodeInfo(item, self._nodeless.pop(name, {}).values())
        self._touch(self.nodes[name])

    def remove_node(self, name: str) -> None:
        """A node is gone. Its pods will go too; until then they are remembered, in case it comes back."""
        node = self.nodes.pop(name, None)
        self._recent.pop(name, None)
        if node is not None:
            self._nodeless[name] = node.pods
            self.epoch += 1

    def set_pod(self, pod: PodInfo) -> bool:
        """A bound pod came or changed: what we assumed is now known. Returns whether that changes any count."""
        self._assumed.discard(pod.key)
        node = self.nodes.get(pod.node_name)
        before = node.pods.get(pod.key) if node else None
        if node and before and before.signature == pod.signature and before.terminating == pod.terminating:
            node.replace(pod)
            return False
        self._remove(pod.key)
        self._add(pod, pod.node_name)
        return True

    def remove_pod(self, key: str) -> None:
        """A pod is gone."""
        self._assumed.discard(key)
        self._remove(key)

    def assume(self, pod: PodInfo, node: str) -> None:
        """We have chosen a node for a pod and will bind it: count it in."""
        self._assumed.add(pod.key)
        self._add(pod, node)

    def forget(self, key: str) -> None:
        """The binding failed: count the pod out, unless the API server has told us of it meanwhile."""
        if key in self._assumed:
            self.remove_pod(key)

    def is_placed(self, key: str) -> bool:
        """Whether a pod is on a node, known or assumed."""
        return key in self._places

    def set_namespace(self, name: str, labels: Labels) -> None:
        """A namespace came or changed its labels, which pod affinity may select by."""
        if self._namespaces.get(name, NO_LABELS) != labels:
            self._namespaces[name] = labels
            for pod in [pod for node in self.nodes.values() for pod in node.pods.values() if pod.namespace == name]:
                place = self._places[pod.key]
                self._remove(pod.key)
                self._add(self.read(pod.item), place)
            self.epoch += 1

    def _add(self, pod: PodInfo, place: str) -> None:
        self._places[pod.key] = place
        if place in self.nodes:
            self.nodes[place].add(pod)
            self._touch(self.nodes[place])
        else:
            self._nodeless.setdefault(place, {})[pod.key] = pod

    def _remove(self, key: str) -> None:
        place = self._places.pop(key, None)
        if place in self.nodes:
            self.nodes[place].remove(key)
            self._touch(self.nodes[place])
        elif place is not None:
            self._nodeless[place].pop(key)
            if not self._nodeless[place]:
                del self._nodeless[place]

    def _touch(self, node: NodeInfo) -> None:
        self._generation += 1
        node.generation = self._generation
        self._recent[node.name] = node
        self._recent.move_to_end(node.name)
