"""The address plan of an embedded cluster.

| addresses | whose they are |
|---|---|
| 10.244.0.0/16 | the pod network: the pods of all nodes |
| 10.244.n.0/24 | the pods of node n (`spec.podCIDR`) |
| 10.244.n.1 | node n itself, and its pods with hostNetwork |
| 10.244.n.2 to .127 | the lower half: pods of RuntimeClass `process`, which share this machine's network |
| 10.244.n.128 to .254 | the upper half: pods of RuntimeClass `oci`, each with a network of its own |
| 127.X.n.m | where a pod of the lower half listens on this machine for 10.244.n.m; each cluster has its own X |
| 10.96.0.0/16, 10.96.0.1 | Services, and the first of them: `kubernetes`, the API server |

The upper half is reached through a proxy (see `connect_proxy`). Standard library only.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

POD_NETWORK = IPv4Network("10.244.0.0/16")
SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
API_SERVICE = str(SERVICE_NETWORK[1])
API_SERVICE_PORT = 443
KUBELET_PORT = 10250


def pod_range(node: int) -> IPv4Network:
    """Return the range of a node's pods, 10.244.<node>.0/24."""
    return IPv4Network((POD_NETWORK[node * 256], 24))


def node_address(node: int) -> str:
    """Return the address of the node itself: the first of its range."""
    return str(pod_range(node)[1])


def halves(pod_range: IPv4Network) -> tuple[IPv4Network, IPv4Network]:
    """Return the part of a node's range for pods on this machine's network, and the part for pods with one of their
    own."""
    lower, upper = pod_range.subnets()
    return lower, upper


MOST_PODS = halves(pod_range(0))[0].num_addresses - 2
"""Addresses of either half of a node's range, without that of the node or, in the upper one, of its bridge."""


def is_pod_address(address: str) -> bool:
    """Return whether a text is an address of the pod network; a node's own counts as one."""
    try:
        return IPv4Address(address) in POD_NETWORK
    except ValueError:
        return False


def has_own_network(address: str) -> bool:
    """Return whether an address is that of a pod with a network of its own."""
    return is_pod_address(address) and IPv4Address(address).packed[3] >= 128


def loopback_address(address: str, loopback: str) -> str:
    """Return where a pod without a network of its own listens: 10.244.n.m becomes <loopback>.n.m, where `loopback`
    is 127.X."""
    *_, node, pod = IPv4Address(address).packed
    return f"{loopback}.{node}.{pod}"
