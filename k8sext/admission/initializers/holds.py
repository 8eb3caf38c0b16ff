"""What keeps an uninitialized object from being acted upon.

In Kubernetes 1.9 nothing had to: whoever lists and watches did not see such an object. Today the scheduler and every
controller see it at once, so it must be stored in a state in which they leave it alone, and that is another one for
each kind:

* a pod gets a scheduling gate (KEP-3521): no node is chosen, so no kubelet starts it;
* a Deployment is paused, a Job and a CronJob are suspended: their controllers make nothing;
* a ReplicaSet and a StatefulSet are held at no replicas, a DaemonSet by a node label in its template that no node has.

What stood in that place is remembered in an annotation and put back on release. All other kinds (ConfigMaps, Services,
...) are stored as they are: nothing can hold back who reads them. A subresource is not looked at, as in 1.9, so
`kubectl scale` reaches a StatefulSet that is held. A pod that names its node itself cannot be gated, and the API server
refuses to create it.
"""

from __future__ import annotations

import json
from typing import Any

from k8sext.admission.initializers.model import GROUP, PENDING, Initializers, Invalid, write
from k8sext.kube.objects import Json
from k8sext.kube.resource import PODS, Resource

GATE = {"name": PENDING}
HELD = f"{GROUP}/held"
"""Annotation: what stood in the place of the hold before, as JSON."""

Path = tuple[str, ...]
PLACES: dict[tuple[str, str], tuple[Path, Any]] = {
    ("apps", "deployments"): (("spec", "paused"), True),
    ("batch", "jobs"): (("spec", "suspend"), True),
    ("batch", "cronjobs"): (("spec", "suspend"), True),
    ("apps", "replicasets"): (("spec", "replicas"), 0),
    ("apps", "statefulsets"): (("spec", "replicas"), 0),
    ("apps", "daemonsets"): (("spec", "template", "spec", "nodeSelector", f"{GROUP}/no-node"), "true"),
}
"""By group and plural: the field that holds an object, and its value while it does."""


def settle(item: Json, resource: Resource, initializers: Initializers | None, old: Json | None = None) -> None:
    """Make an object say what these initializers mean: held and labelled as long as there are any, and then released.

    old is what is stored already; a pod gets its gate only without, as no stored pod can get one.
    """
    if old is not None and HELD in (old["metadata"].get("annotations") or {}):
        _annotations(item).setdefault(HELD, old["metadata"]["annotations"][HELD])
    if initializers is None:
        _release(item, resource)
    elif resource == PODS:
        item["spec"] |= {
            "schedulingGates": _gates(item) + ([GATE] if old is None and not is_held(item, resource) else [])
        }
    elif place := _place(resource):
        _hold(item, resource, *place)
    write(item, initializers)


def check(item: Json, resource: Resource, initializers: Initializers | None) -> None:
    """Raises Invalid if an object is not initialized and yet not held: somebody took the hold away first."""
    if initializers is not None and not is_held(item, resource):
        path, _ = _place(resource) or (("spec", "schedulingGates"), None)
        raise Invalid(
            f"{'.'.join(path)}: it holds the object until the last initializer is gone; take the names away instead"
        )


def is_held(item: Json, resource: Resource) -> bool:
    """Whether the object is in the state in which nothing acts on it; always true for kinds that nothing acts on."""
    if resource == PODS:
        return GATE in _gates(item)
    place = _place(resource)
    return place is None or _get(item, place[0]) == place[1]


def _hold(item: Json, resource: Resource, path: Path, value: Any) -> None:
    """Somebody may have changed the field meanwhile: then that is what is to stand there in the end."""
    if HELD not in _annotations(item) or not is_held(item, resource):
        _annotations(item)[HELD] = json.dumps(_get(item, path))
    _set(item, path, value)


def _release(item: Json, resource: Resource) -> None:
    before = _annotations(item).pop(HELD, None)
    if not is_held(item, resource):
        return
    if resource == PODS:
        item["spec"]["schedulingGates"] = [gate for gate in _gates(item) if gate != GATE]
    elif before is not None and (place := _place(resource)):
        _set(item, place[0], json.loads(before))


def _gates(item: Json) -> list[Json]:
    return list(item["spec"].get("schedulingGates") or [])


def _place(resource: Resource) -> tuple[Path, Any] | None:
    return PLACES.get((resource.group, resource.plural))


def _annotations(item: Json) -> Json:
    if item["metadata"].get("annotations") is None:
        item["metadata"]["annotations"] = {}
    return item["metadata"]["annotations"]


def _get(item: Json, path: Path) -> Any:
    where: Any = item
    for key in path:
        where = (where or {}).get(key)
    return where


def _set(item: Json, path: Path, value: Any) -> None:
    """Set a field, or remove it for None."""
    where = item
    for key in path[:-1]:
        where = where.setdefault(key, {})
    if value is None:
        where.pop(path[-1], None)
    else:
        where[path[-1]] = value
