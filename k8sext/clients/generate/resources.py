"""Which resources a document has, and what can be done with each: read from its URLs and their methods."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from k8sext.clients.generate.openapi import Document
from k8sext.clients.kubectl import UserError
from k8sext.kube.objects import Json

VERBS = {
    "get": "get",
    "list": "list",
    "post": "create",
    "put": "update",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "delete_collection",
}


@dataclass
class Resource:
    """One resource: its name in URLs, its kind, the name of its schema, and its verbs."""

    plural: str
    kind: str
    schema: str
    namespaced: bool = False
    verbs: set[str] = field(default_factory=set)
    subresources: set[str] = field(default_factory=set)


def find(document: Document) -> list[Resource]:
    """Return the resources of a document by name. Raises UserError if there are none."""
    found: dict[str, Resource] = {}
    pattern = re.compile(
        re.escape(document.root) + r"(/namespaces/\{namespace\})?/([a-z0-9-]+)(/\{name\})?(?:/([a-z]+))?"
    )
    kinds = {(gvk["group"], gvk["version"], gvk["kind"]): name for name, gvk in _own_kinds(document)}
    for path, methods in sorted(document.paths.items()):
        match = pattern.fullmatch(path)
        if not match or "/watch/" in path:
            continue
        namespaced, plural, _, sub = match.groups()
        for operation in methods.values():
            action = operation.get("x-kubernetes-action") if isinstance(operation, dict) else None
            gvk = operation.get("x-kubernetes-group-version-kind", {}) if action else {}
            if sub and plural in found and action == "get" and sub in ("status", "scale"):
                found[plural].subresources.add(sub)
            if sub or action not in VERBS:
                continue
            schema = kinds.get((gvk.get("group", ""), gvk.get("version", ""), gvk.get("kind", "")))
            if schema is None:
                continue
            resource = found.setdefault(plural, Resource(plural, gvk["kind"], schema))
            resource.namespaced = resource.namespaced or bool(namespaced)
            resource.verbs.add(VERBS[action])
    if not found:
        raise UserError(
            f"The document of {document.api_version} has no resources with a kind: there is nothing to generate."
        )
    return [found[plural] for plural in sorted(found)]


def _own_kinds(document: Document) -> list[tuple[str, Json]]:
    return [
        (name, gvk)
        for name, schema in sorted(document.schemas.items())
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    ]
