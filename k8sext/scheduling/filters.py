"""Filters: may this pod run on this node? Each looks at one thing, and says why not.

A filter is a function of a pod and a node. It returns the reasons against the node, in kube-scheduler's words; an empty answer means
yes. Those here depend on nothing but the two; k8sext.scheduling.affinity and .spread hold those that look at other nodes as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8sext.scheduling.selectors import NodeTerm
from k8sext.scheduling.world import Node, Pod

Reasons = tuple[str, ...]
YES: Reasons = ()

UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
KEEPS_AWAY = ("NoSchedule", "NoExecute")
ANY_ADDRESS = "0.0.0.0"


def node_name(pod: Pod, node: Node) -> Reasons:
    """The node is the one that spec.nodeName asks for. Source: kube-scheduler plugin NodeName."""
    return YES if pod.node_name in ("", node.name) else ("node(s) didn't match the requested node name",)


def unschedulable(pod: Pod, node: Node) -> Reasons:
    """Nobody has cordoned the node, or the pod does not care. Source: plugin NodeUnschedulable."""
    if not node.unschedulable or tolerates(pod, UNSCHEDULABLE_TAINT):
        return YES
    return ("node(s) were unschedulable",)


def taints(pod: Pod, node: Node) -> Reasons:
    """The pod tolerates every taint that keeps pods away. Source: plugin TaintToleration; page "Taints and Tolerations"."""
    for taint in node.taints:
        if taint["effect"] in KEEPS_AWAY and not tolerates(pod, taint):
            return ("node(s) had untolerated taint(s)",)
    return YES


def node_affinity(pod: Pod, node: Node) -> Reasons:
    """The node has the labels of nodeSelector, and fits a term of required node affinity. Source: plugin NodeAffinity."""
    if fits_node_affinity(pod, node):
        return YES
    return ("node(s) didn't match Pod's node affinity/selector",)


def host_ports(pod: Pod, node: Node) -> Reasons:
    """No other pod on the node holds a port of the host that this one wants. Source: plugin NodePorts."""
    for address, protocol, port in pod.demands.ports:
        for taken_address, taken_protocol, taken_port in (used for used, count in node.ports.items() if count):
            same_address = address == taken_address or ANY_ADDRESS in (address, taken_address)
            if port == taken_port and protocol == taken_protocol and same_address:
                return ("node(s) didn't have free ports for the requested pod ports",)
    return YES


def resources(pod: Pod, node: Node) -> Reasons:
    """What is left of each resource is enough, and one pod more is allowed. Source: plugin NodeResourcesFit."""
    reasons = YES
    if len(node.pods) + 1 > node.allocatable.get("pods", 0):
        reasons = ("Too many pods",)
    for name, wanted in pod.demands.requests.items():
        if wanted > 0 and wanted > node.allocatable.get(name, 0) - node.requested.get(name, 0):
            reasons = (*reasons, f"Insufficient {name}")
    return reasons


def tolerates(pod: Pod, taint: Mapping[str, str], effects: Iterable[str] = ()) -> bool:
    """Whether one of the pod's tolerations covers a taint (of those for certain effects, where some are named)."""
    return any(
        _covers(toleration, taint)
        for toleration in pod.demands.tolerations
        if not effects or toleration.get("effect", "") in effects
    )


def _covers(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def fits_node_affinity(pod: Pod, node: Node) -> bool:
    """Whether node selector and required node affinity allow the node."""
    labels = node.labels
    for key, value in pod.demands.node_selector:
        if labels.get(key) != value:
            return False
    terms = pod.demands.node_terms
    return terms is None or fits_any(terms, node)


def fits_any(terms: Iterable[NodeTerm], node: Node) -> bool:
    """Whether one of the terms selects the node: terms are alternatives, the conditions in a term are not."""
    return any(term.matches(node.name, node.labels) for term in terms)
