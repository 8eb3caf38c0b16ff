"""The JSON Patch (RFC 6902) that makes one document of another, found in a time that grows with their size.

It is not always the shortest one: that would take comparing every entry of a list with every other. Equal entries at
both ends of a list are left alone; what is between them is compared place by place, and written anew where that takes
too many steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from k8sext.kube.objects import Json

MOST_STEPS = 100
"""From so many changes of one list on, the list is replaced as a whole."""


def difference(before: Any, after: Any, path: str = "") -> list[Json]:
    """The steps from before to after, two JSON values that stand at this path (a JSON Pointer, RFC 6901)."""
    if isinstance(before, dict) and isinstance(after, dict):
        return _of_objects(before, after, path)
    if isinstance(before, list) and isinstance(after, list):
        steps = _of_lists(before, after, path)
        return steps if len(steps) <= MOST_STEPS else [_step("replace", path, after)]
    return [] if _same(before, after) else [_step("replace", path, after)]


def _of_objects(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> list[Json]:
    steps = [{"op": "remove", "path": _at(path, key)} for key in before if key not in after]
    for key, value in after.items():
        if key not in before:
            steps.append(_step("add", _at(path, key), value))
        else:
            steps += difference(before[key], value, _at(path, key))
    return steps


def _of_lists(before: Sequence[Any], after: Sequence[Any], path: str) -> list[Json]:
    """Entries are taken away from the end, so that the places of those before them stay what they are."""
    shorter = min(len(before), len(after))
    first = next((place for place in range(shorter) if not _same(before[place], after[place])), shorter)
    rest = shorter - first
    last = next((n for n in range(rest) if not _same(before[-1 - n], after[-1 - n])), rest)
    end, new_end = len(before) - last, len(after) - last
    common = min(end, new_end)
    steps: list[Json] = []
    for place in range(first, common):
        steps += difference(before[place], after[place], f"{path}/{place}")
    steps += [{"op": "remove", "path": f"{path}/{place}"} for place in reversed(range(common, end))]
    return steps + [_step("add", f"{path}/{place}", after[place]) for place in range(common, new_end)]


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON; to Python, True is 1 and 1.0 is 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _step(op: str, path: str, value: Any) -> Json:
    return {"op": op, "path": path, "value": value}


def _at(path: str, key: str) -> str:
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
