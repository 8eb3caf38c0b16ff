"""What Kubernetes 1.7 to 1.13 did about initializers, as plain functions: no network, nothing to wait for.

There, `metadata.initializers` held the names that were still to act and, after a failure, a result. That field is gone,
so two annotations hold them here: `pending` (names with commas between) and `result` (a Status as JSON). No annotation
is what `nil` was. Sources: `initialization.go` and `initializer_manager.go` of Kubernetes 1.9 (admission, order,
rules), `objectmeta.go` (validation), and the design proposal "Extension of Admission Control via Initializers" of
kubernetes/community.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from k8sext.admission.functions import DOMAIN
from k8sext.kube.objects import Json
from k8sext.kube.resource import PODS, Resource

GROUP = f"initializers.{DOMAIN}"
PENDING = f"{GROUP}/pending"
RESULT = f"{GROUP}/result"
UNINITIALIZED = f"{GROUP}/uninitialized"
"""A label on every object that is not initialized: by it, the API server leaves such objects out of lists."""
MIRROR_POD = "kubernetes.io/config.mirror"

SEGMENT = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NAME = rf"{SEGMENT}(\.{SEGMENT}){{2,}}"
CREATE_DENIED = "create with initializers denied"
UPDATE_DENIED = "update to uninitialized resource denied"


class Invalid(Exception):
    """These initializers, or this change of them, cannot be; the message says why."""


@dataclass(frozen=True)
class Initializers:
    """Who is still to act, in this order, and how it ended if it failed."""

    pending: tuple[str, ...] = ()
    result: Json | None = None

    def without(self, name: str) -> Initializers:
        """The same, with one name removed."""
        return Initializers(tuple(other for other in self.pending if other != name), self.result)


@dataclass(frozen=True)
class Decision:
    """What is to be stored, and the objection (or "") that stands if the user may not `initialize` this resource."""

    initializers: Initializers | None
    objection: str = ""


def read(item: Json) -> Initializers | None:
    """The initializers of an object, None if it has none. Raises Invalid."""
    annotations = item.get("metadata", {}).get("annotations") or {}
    if PENDING not in annotations and RESULT not in annotations:
        return None
    pending = tuple(name.strip() for name in annotations.get(PENDING, "").split(",") if name.strip())
    return Initializers(pending, _result(annotations[RESULT]) if RESULT in annotations else None)


def write(item: Json, initializers: Initializers | None) -> None:
    """Put initializers into an object: annotations, and the label by which it is hidden."""
    metadata = item["metadata"]
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in (PENDING, RESULT)}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != UNINITIALIZED}
    if initializers is not None:
        annotations[PENDING] = ",".join(initializers.pending)
        labels[UNINITIALIZED] = "true"
        if initializers.result is not None:
            annotations[RESULT] = json.dumps(initializers.result)
    for key, values in (("annotations", annotations), ("labels", labels)):
        if values or key in metadata:
            metadata[key] = values


def validate(initializers: Initializers | None) -> None:
    """Check names and result. Raises Invalid."""
    if initializers is None:
        return
    for name in initializers.pending:
        if not re.fullmatch(NAME, name):
            raise Invalid(f"{PENDING}: {name!r} should be a domain with at least three segments separated by dots")
    if initializers.result is not None and initializers.result.get("status") != "Failure":
        raise Invalid(f"{RESULT}: status must be 'Failure'")
    if not initializers.pending and initializers.result is None:
        raise Invalid(f"{PENDING}: must be non-empty when result is not set")


def in_order(configurations: Iterable[Json]) -> list[Json]:
    """All initializers of all configurations: those sorted by name, these as they stand in each."""
    by_name = sorted(configurations, key=lambda configuration: configuration["metadata"]["name"])
    return [initializer for configuration in by_name for initializer in configuration.get("initializers") or ()]


def names_for(configurations: Iterable[Json], resource: Resource) -> tuple[str, ...]:
    """The names that a new object of this resource gets as pending, in order."""
    found = in_order(configurations)
    return tuple(initializer["name"] for initializer in found if matches(initializer.get("rules") or (), resource))


def matches(rules: Sequence[Json], resource: Resource) -> bool:
    """Whether rules match a resource: all of them must, although the documentation said "any"; no rules match nothing.

    `*` counts in first place only, and a resource with a slash never matches: this is how the code was.
    """
    return bool(rules) and all(
        _has(rule["apiGroups"], resource.group)
        and _has(rule["apiVersions"], resource.version)
        and _has(rule["resources"], resource.plural)
        for rule in rules
    )


def on_create(item: Json, resource: Resource, configurations: Iterable[Json]) -> Decision:
    """What becomes of a new object's initializers. Raises Invalid.

    Without any, it gets those that are configured. With its own, or with an empty list as the administrator's way
    around all of them, the user must be allowed to `initialize`.
    """
    own = read(item)
    if own == Initializers():
        return Decision(None, CREATE_DENIED)
    if own is not None:
        validate(own)
        return Decision(own, CREATE_DENIED)
    if resource == PODS and MIRROR_POD in (item["metadata"].get("annotations") or {}):
        return Decision(None)
    names = names_for(configurations, resource)
    return Decision(Initializers(names) if names else None)


def on_update(new: Json, old: Json) -> Decision:
    """What becomes of the initializers of an object that is changed. Raises Invalid for a change that cannot be.

    An empty list without a result means: initialized. Whoever changes an uninitialized object must be allowed to
    `initialize`.
    """
    updated, existing = read(new), read(old)
    if updated == Initializers():
        updated = None
    if updated is None and existing is None:
        return Decision(None)
    if updated is not None:
        _check_transition(updated, existing)
    return Decision(updated, UPDATE_DENIED)


def _check_transition(updated: Initializers, existing: Initializers | None) -> None:
    """From something to nothing is always right, and to a result; from nothing, and from a result, there is no way."""
    if existing is None:
        raise Invalid(f"{PENDING}: field is immutable once initialization has completed")
    validate(updated)
    if existing.result is not None and updated.result != existing.result:
        raise Invalid(f"{RESULT}: field is immutable")


def _has(values: Sequence[str], value: str) -> bool:
    return bool(values) and (values[0] in ("*", "*/*") or value in values)


def _result(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Invalid(f"{RESULT} must hold a Status as JSON, as {{'status': 'Failure', 'message': '...'}}")
    return found
