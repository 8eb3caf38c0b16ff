"""Does the API server show what this kubelet has to say? It may show more: conditions of others, defaults.

Compared is always with the object as the server shows it now, never with what was sent last: somebody else may have
written since (the kubelet's `isPodStatusByKubeletEqual` and `nodeStatusHasChanged`).
"""

from __future__ import annotations


def covers(shown: object, wanted: object) -> bool:
    """Is all of `wanted` in `shown`? Both are JSON.

    What is empty (None, "", {}, False, 0) need not be there; conditions are compared by their type.
    """
    if isinstance(wanted, dict):
        shown = shown if isinstance(shown, dict) else {}
        return all(covers(shown.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(shown, list):
            return not wanted
        if all(isinstance(item, dict) and "type" in item for item in wanted):  # conditions: a map in disguise
            by_type = {item["type"]: item for item in shown}
            return all(covers(by_type.get(item["type"]), item) for item in wanted)
        return len(shown) == len(wanted) and all(map(covers, shown, wanted))
    return shown == wanted or (wanted in (None, "", {}, False, 0) and shown is None)
