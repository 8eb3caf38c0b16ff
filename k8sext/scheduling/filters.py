"""Filters: may this pod run on this node? Each looks at one thing, and says why not.

A filter is a function of a pod and a node. It returns the reasons against the node, in kube-scheduler's words; an empty
answer means yes. Each bears the name of kube-scheduler's plugin. Those here depend on nothing but the two;
k8sext.scheduling.inter_pod_affinity and .pod_topology_spread hold those that look at other nodes as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8sext.scheduling.selectors import NodeTerm
from k8sext.scheduling.snapshot import NodeInfo, PodInfo

Reasons = tuple[str, ...]
YES: Reasons = ()

UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
KEEPS_AWAY = ("NoSchedule", "NoExecute")
ANY_ADDRESS = "0.0.0.0"


def node_name(pod: PodInfo, node: NodeInfo) -> Reasons:
    """The node is the one that spec.nodeName asks for."""
    return YES if pod.node_name in ("", node.name) else ("node(s) didn't match the requested node name",)


def node_unschedulable(pod: PodInfo, node: NodeInfo) -> Reasons:
    """Nobody has cordoned the node, or the pod does not care."""
    if not node.unschedulable or tolerates(pod, UNSCHEDULABLE_TAINT):
        return YES
    return ("node(s) were unschedulable",)


def taint_toleration(pod: PodInfo, node: NodeInfo) -> Reasons:
    """The pod tolerates every taint that keeps pods away. Source: page "Taints and Tolerations"."""
    for taint in node.taints:
        if taint["effect"] in KEEPS_AWAY and not tolerates(pod, taint):
            return ("node(s) had untolerated taint(s)",)
    return YES


def node_affinity(pod: PodInfo, node: NodeInfo) -> Reasons:
    """The node has the labels of nodeSelector, and fits a term of required node affinity."""
    if fits_node_affinity(pod, node):
        return YES
    return ("node(s) didn't match Pod's node affinity/selector",)


def node_ports(pod: PodInfo, node: NodeInfo) -> Reasons:
    """No other pod on the node holds a port of the host that this one wants."""
    for address, protocol, port in pod.requests.ports:
        for used_address, used_protocol, used_port in (used for used, count in node.used_ports.items() if count):
            same_address = address == used_address or ANY_ADDRESS in (address, used_address)
            if port == used_port and protocol == used_protocol and same_address:
                return ("node(s) didn't have free ports for the requested pod ports",)
    return YES


def node_resources_fit(pod: PodInfo, node: NodeInfo) -> Reasons:
    """What is left of each resource is enough, and one pod more is allowed."""
    reasons = YES
    if len(node.pods) + 1 > node.allocatable.get("pods", 0):
        reasons = ("Too many pods",)
    for name, wanted in pod.requests.resources.items():
        if wanted > 0 and wanted > node.allocatable.get(name, 0) - node.requested.get(name, 0):
            reasons = (*reasons, f"Insufficient {name}")
    return reasons


def tolerates(pod: PodInfo, taint: Mapping[str, str], effects: Iterable[str] = ()) -> bool:
    """Whether one of the pod's tolerations covers a taint (of those for certain effects, where some are named)."""
    return any(
        _covers(toleration, taint)
        for toleration in pod.requests.tolerations
        if not effects or toleration.get("effect", "") in effects
    )


def _covers(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def fits_node_affinity(pod: PodInfo, node: NodeInfo) -> bool:
    """Whether node selector and required node affinity allow the node."""
    labels = node.labels
    for key, value in pod.requests.node_selector:
        if labels.get(key) != value:
            return False
    terms = pod.requests.node_terms
    return terms is None or fits_any(terms, node)


def fits_any(terms: Iterable[NodeTerm], node: NodeInfo) -> bool:
    """Whether one of the terms selects the node: terms are alternatives, the conditions in a term are not."""
    return any(term.matches(node.name, node.labels) for term in terms)
