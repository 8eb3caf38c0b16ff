"""A pod's containers and what they take of a node, for those that choose a node and for the node itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k8sext.kube.objects import Json
from k8sext.kube.quantity import Amounts, add, amounts, raise_to

POD_LEVEL = ("cpu", "memory")
"""What a pod can request as a whole, huge pages aside."""


def init_containers(pod: Json) -> list[Json]:
    return pod["spec"].get("initContainers") or []


def containers(pod: Json) -> list[Json]:
    return pod["spec"].get("containers") or []


def ephemeral_containers(pod: Json) -> list[Json]:
    return pod["spec"].get("ephemeralContainers") or []


def all_containers(pod: Json) -> Iterator[Json]:
    """In the order in which they start."""
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def is_sidecar(container: Json) -> bool:
    """An init container that stays: it starts in its turn and then runs beside the others. Source: KEP-753."""
    return container.get("restartPolicy") == "Always"


def all_statuses(pod: Json) -> Iterator[Json]:
    """The statuses of all containers, in the order of all_containers."""
    status: Json = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(kind) or ()


def lasting_containers(pod: Json) -> list[Json]:
    """The containers that are to run as long as the pod does: its containers and its sidecars."""
    return [*(container for container in init_containers(pod) if is_sidecar(container)), *containers(pod)]


def restarts(pod: Json) -> int:
    """How often containers were started again: the init containers up to the one under way, then the lasting ones.

    Source: printPod of kubectl's RESTARTS column (k8s.io/kubernetes/pkg/printers/internalversion).
    """
    status: Json = pod.get("status") or {}
    sidecars = {container["name"] for container in init_containers(pod) if is_sidecar(container)}
    conditions: list[Json] = status.get("conditions") or []
    done = any(each["type"] == "Initialized" and each["status"] == "True" for each in conditions)
    init = lasting = 0
    for each in status.get("initContainerStatuses") or ():
        sidecar, count = each["name"] in sidecars, each.get("restartCount", 0)
        init += count
        lasting += count if sidecar else 0
        if not done and not _is_passed(each, sidecar):
            return init
    return lasting + sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ())


def _is_passed(status: Json, sidecar: bool) -> bool:
    """Whether the next init container may start after this one."""
    state: Json = status.get("state") or {}
    ended: Json | None = state.get("terminated")
    return (ended is not None and ended["exitCode"] == 0) or bool(sidecar and status.get("started"))


def requests(pod: Json, missing: Mapping[str, int] | None = None) -> Amounts:
    """What a pod takes of its node: its containers and sidecars together, or more while an init container runs.

    What the pod as a whole requests (`spec.resources`) counts instead of the sum; the overhead of its RuntimeClass
    comes on top. `missing` is assumed of each container that does not say. Raises ValueError for what is no quantity.
    Source: PodRequests of k8s.io/component-helpers/resource; KEP-753 (sidecars), KEP-2837 (pod-level resources).
    """
    total = _together(pod, "requests", missing)
    add(total, amounts(pod["spec"].get("overhead")))
    return total


def limits(pod: Json) -> Amounts:
    """What a pod may use at most of what it names a limit for, counted as its requests are.

    Source: PodLimits of k8s.io/component-helpers/resource.
    """
    total = _together(pod, "limits")
    overhead = amounts(pod["spec"].get("overhead"))
    add(total, {name: amount for name, amount in overhead.items() if total.get(name)})
    return total


def _together(pod: Json, kind: str, missing: Mapping[str, int] | None = None) -> Amounts:
    total: Amounts = {}
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in containers(pod):
        add(total, _amounts(container, kind, missing))
    for container in init_containers(pod):
        running = _amounts(container, kind, missing)
        if is_sidecar(container):
            add(total, running)
            add(sidecars, running)
            running = {}
        add(running, sidecars)
        raise_to(peak, running)
    raise_to(total, peak)
    return total | amounts(pod_level(pod, kind))


def pod_level(pod: Json, kind: str) -> dict[str, str]:
    """The `requests` or `limits` of the pod as a whole; of other resources only containers have some."""
    resources: Json = pod["spec"].get("resources") or {}
    of_kind: dict[str, str] = resources.get(kind) or {}
    return {name: amount for name, amount in of_kind.items() if name in POD_LEVEL or name.startswith("hugepages-")}


def _amounts(container: Json, kind: str, missing: Mapping[str, int] | None) -> Amounts:
    resources: Json = container.get("resources") or {}
    return {**(missing or {}), **amounts(resources.get(kind))}
