"""May this pod run here? The scheduler has looked already, but another scheduler, or a nodeName in the spec, may have looked away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.pod import Json
from k8sext.kube.quantity import parse


@dataclass(frozen=True)
class Rejection:
    """Why not, in the words of the API: a reason such as OutOfcpu and a sentence."""

    reason: str
    message: str


def check(pod: Json, others: Iterable[Json], capacity: dict[str, str]) -> Rejection | None:
    """Does the pod fit beside the others? None if it does, else the reason. Source: the kubelet's predicate admit handler."""
    others = list(others)
    if len(others) + 1 > int(capacity["pods"]):
        return _out_of("pods", Decimal(1), Decimal(len(others)), Decimal(capacity["pods"]))
    wanted = requests(pod)
    taken = [requests(other) for other in others]
    for resource, amount in wanted.items():
        used = sum((other.get(resource, Decimal(0)) for other in taken), Decimal(0))
        total = parse(capacity.get(resource, "0"))
        if amount and amount + used > total:
            return _out_of(resource, amount, used, total)
    return None


def requests(pod: Json) -> dict[str, Decimal]:
    """What a pod takes of its node: all containers and sidecars together, or its largest init container beside the sidecars before it."""
    total: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    sidecars: dict[str, Decimal] = {}
    for container in pods.init_containers(pod):
        own = _container_requests(container)
        if pods.is_sidecar(container):
            sidecars = _add(sidecars, own)
        peak = _larger(peak, sidecars if pods.is_sidecar(container) else _add(sidecars, own))
    for container in pods.containers(pod):
        total = _add(total, _container_requests(container))
    overhead = {name: parse(amount) for name, amount in (pod["spec"].get("overhead") or {}).items()}
    return _add(_larger(_add(total, sidecars), peak), overhead)


def _container_requests(container: Json) -> dict[str, Decimal]:
    return {name: parse(amount) for name, amount in ((container.get("resources") or {}).get("requests") or {}).items()}


def _add(left: dict[str, Decimal], right: dict[str, Decimal]) -> dict[str, Decimal]:
    return {name: left.get(name, Decimal(0)) + right.get(name, Decimal(0)) for name in left | right}


def _larger(left: dict[str, Decimal], right: dict[str, Decimal]) -> dict[str, Decimal]:
    return {name: max(left.get(name, Decimal(0)), right.get(name, Decimal(0))) for name in left | right}


def _out_of(resource: str, wanted: Decimal, used: Decimal, total: Decimal) -> Rejection:
    scale = 1000 if resource == "cpu" else 1  # processors are counted in thousandths
    numbers = f"requested: {int(wanted * scale)}, used: {int(used * scale)}, capacity: {int(total * scale)}"
    return Rejection(f"OutOf{resource}", f"Node didn't have enough resource: {resource}, {numbers}")
