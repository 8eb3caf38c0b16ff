"""What a request is about, read from its path and query alone.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from k8sext.admission.initializers.model import UNINITIALIZED

INCLUDE = "includeUninitialized"
INITIALIZED_ONLY = f"!{UNINITIALIZED}"


def is_collection(path: str) -> bool:
    """Whether all objects of a resource stand there (also in the old form /api/v1/watch/...), and not one, or part of one."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if rest[:1] == ["watch"]:
        rest = rest[1:]
    return len(rest) == 1 or (len(rest) == 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"))


def visible(query: str) -> str:
    """The query of a LIST or WATCH, so that it finds initialized objects only, unless it asks for the others, too."""
    wanted = parse_qsl(query, keep_blank_values=True)
    parameters = [(key, value) for key, value in wanted if key != INCLUDE]
    if not includes_uninitialized(query):
        selectors = [value for key, value in parameters if key == "labelSelector" and value]
        parameters = [(key, value) for key, value in parameters if key != "labelSelector"]
        parameters.append(("labelSelector", ",".join([*selectors, INITIALIZED_ONLY])))
    return urlencode(parameters)


def includes_uninitialized(query: str) -> bool:
    """Whether a request asks for uninitialized objects, too, or does not want to wait."""
    return dict(parse_qsl(query, keep_blank_values=True)).get(INCLUDE, "false").lower() in ("", "1", "t", "true")


def without_include(query: str) -> str:
    """The query without what the API server of today does not know."""
    return urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != INCLUDE])
