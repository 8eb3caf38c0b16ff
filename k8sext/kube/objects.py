"""The parts that every object of the API has: its key, references to it, its conditions, and how times are written.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
"""A JSON object: an object of the API, or a part of one, as it was decoded."""


def part(of: Json, name: str) -> Json:
    """Return a part of an object, {} where it was left out or is null."""
    return of.get(name) or {}


def parts(of: Json, name: str) -> list[Json]:
    """Return a list in an object, [] where it was left out or is null."""
    return of.get(name) or []


def key_of(item: Json) -> str:
    """Return "namespace/name" of an object, or "name" of one without a namespace."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else metadata["name"]


def split_key(key: str) -> tuple[str, str]:
    """Return namespace and name of a key; the namespace is empty for an object without one."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def reference_to(item: Json, field_path: str = "") -> Json:
    """Return the ObjectReference of an object, optionally of a part of it (`spec.containers{web}`)."""
    metadata = item["metadata"]
    reference = {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return reference | ({"fieldPath": field_path} if field_path else {})


def owner_reference(owner: Json, *, controller: bool = False) -> Json:
    """Return what an object names in `metadata.ownerReferences`: the garbage collector deletes it after its owners.

    One owner at most is the `controller` that manages the object.
    """
    metadata = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return reference | ({"controller": True} if controller else {})


def controller_of(item: Json) -> Json | None:
    """Return the owner reference of the one controller that manages this object, if there is one."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def condition_of(item: Json, type: str) -> Json:
    """Return the condition of this type from an object's status; empty if there is none."""
    status: Json = item.get("status") or {}
    conditions: list[Json] = status.get("conditions") or []
    return next((one for one in conditions if one["type"] == type), Json())


def condition(type: str, status: str | bool, before: Json, *, now: str = "", **fields: Any) -> Json:
    """Return a condition to be written; `fields` are reason, message and what else this kind of condition has.

    `status` is "True", "False" or "Unknown". `before` is the condition as it was (empty: there was none): the time of
    the last transition stays while the status stays. `now` is a timestamp, by default that of this moment.
    """
    status = str(status)
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {"type": type, "status": status, **fields, "lastTransitionTime": since or now or timestamp()}


def timestamp(seconds: float | None = None) -> str:
    """Return a time as the API writes it: UTC, whole seconds, "Z". `seconds` count from 1970; now, if none are
    given."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(seconds: float | None = None) -> str:
    """Return a MicroTime, as leases and newer events have it: a timestamp with six digits after the second."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _utc(seconds: float | None) -> datetime:
    return datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
