"""May this pod run here? The scheduler has looked already, but another scheduler, or a nodeName in the spec, may
have looked away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from k8sext.kube.objects import Json, part, parts
from k8sext.kube.pod import lasting_containers, requests
from k8sext.kube.quantity import amount

ANY_ADDRESS = "0.0.0.0"


class HostPort(NamedTuple):
    """A port of the node: at which of its addresses, for which protocol."""

    ip: str
    protocol: str
    number: int


@dataclass(frozen=True)
class Rejection:
    """Why not, in the words of the API: a reason such as OutOfcpu and a sentence."""

    reason: str
    message: str


def check(pod: Json, others: Iterable[Json], capacity: dict[str, str]) -> Rejection | None:
    """Does the pod fit beside the others? None if it does, else the reason. Source: the kubelet's predicate admit
    handler."""
    system = part(pod["spec"], "os").get("name", "linux")
    if system != "linux":
        return Rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    others = list(others)
    taken = [requests(other) for other in others]
    if len(taken) + 1 > int(capacity["pods"]):
        return _out_of("pods", 1, len(taken), int(capacity["pods"]))
    for resource, wanted in requests(pod).items():
        used = sum(other.get(resource, 0) for other in taken)
        total = amount(resource, capacity.get(resource, "0"))
        if wanted and wanted + used > total:
            return _out_of(resource, wanted, used, total)
    busy = [port for other in others for port in _host_ports(other)]
    if any(_collide(port, other) for port in _host_ports(pod) for other in busy):
        what = "node(s) didn't have free ports for the requested pod ports"
        return Rejection("NodePorts", f"Predicate NodePorts failed: {what}")
    return None


def _host_ports(pod: Json) -> Iterator[HostPort]:
    """The ports of the node that a pod wants for itself; those of sidecars count, too."""
    for container in lasting_containers(pod):
        for port in parts(container, "ports"):
            if number := port.get("hostPort"):
                yield HostPort(port.get("hostIP") or ANY_ADDRESS, port.get("protocol", "TCP"), number)


def _collide(one: HostPort, other: HostPort) -> bool:
    addresses = {one.ip, other.ip}
    return one[1:] == other[1:] and (len(addresses) == 1 or ANY_ADDRESS in addresses)


def _out_of(resource: str, wanted: int, used: int, total: int) -> Rejection:
    numbers = f"requested: {wanted}, used: {used}, capacity: {total}"
    return Rejection(f"OutOf{resource}", f"Node didn't have enough resource: {resource}, {numbers}")
