"""The verbs of the API, one class each, so that a generated client has exactly those that its resource has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from k8sext.clients.runtime.connection import Connection
from k8sext.clients.runtime.informer import Informer
from k8sext.clients.runtime.kind import Kind
from k8sext.clients.runtime.model import Model, Scale
from k8sext.kube import request as rest
from k8sext.kube import watch
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Body, Query

T = TypeVar("T", bound=Model)
PatchKind = Literal["merge", "strategic", "json", "apply"]
CONTENT_TYPES: dict[PatchKind, str] = {
    "merge": rest.MERGE_PATCH,
    "strategic": rest.STRATEGIC_MERGE_PATCH,
    "json": rest.JSON_PATCH,
    "apply": rest.APPLY_PATCH,
}
PAGE = 500


@dataclass(frozen=True)
class Listed(Generic[T]):
    """All objects there are, now: the first word of a watch, and the next one after a gap."""

    items: list[T]


@dataclass(frozen=True)
class Change(Generic[T]):
    """One object changed."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: T


class Resource(Generic[T]):
    """A resource in one namespace, or in all of them (the empty name), or of the cluster."""

    def __init__(self, connection: Connection, kind: Kind[T], namespace: str = "") -> None:
        self.connection, self.kind, self.namespace = connection, kind, namespace

    def _path(self, name: str, subresource: str = "") -> str:
        self._check_namespace(name)
        return self.kind.resource.path(name, self.namespace, subresource)

    def _collection(self) -> str:
        self._check_namespace("")
        return self.kind.resource.collection(self.namespace)

    def _check_namespace(self, name: str) -> None:
        if self.kind.namespaced and not self.namespace:
            raise ValueError(f"{self.kind.kind} {name} belongs to a namespace: write {self.kind.plural}('NAMESPACE').")

    def _body(self, item: T) -> tuple[str, Json]:
        body: Json = {"apiVersion": self.kind.resource.api_version, "kind": self.kind.kind} | item.to_dict()
        return body.get("metadata", {}).get("name", ""), body

    def _put(self, item: T, subresource: str = "") -> T:
        name, body = self._body(item)
        return self.kind.read(self.connection.request("PUT", self._path(name, subresource), body))

    def _patch(self, name: str, subresource: str, body: Body, kind: PatchKind, query: Query) -> T:
        path = self._path(name, subresource)
        return self.kind.read(
            self.connection.request("PATCH", path, body, query=query, content_type=CONTENT_TYPES[kind])
        )


def _owner(manager: str, force: bool) -> dict[str, str | int]:
    return {"fieldManager": manager, **({"force": "true"} if force else {})}


def _selectors(labels: str, fields: str) -> dict[str, str | int]:
    named: dict[str, str | int] = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in named.items() if value}


class Get(Resource[T]):
    """Objects can be read one by one."""

    def get(self, name: str) -> T:
        """Return the object of that name. Raises ApiError (code 404 when there is none)."""
        return self.kind.read(self.connection.request("GET", self._path(name)))


class List(Resource[T]):
    """Objects can be listed and watched."""

    def list(self, *, labels: str = "", fields: str = "") -> list[T]:
        """Return all objects that the selectors allow; a long list is fetched in pages."""
        query = _selectors(labels, fields) | {"limit": PAGE}
        found: list[T] = []
        while True:
            try:
                answer = self.connection.request("GET", self.kind.resource.collection(self.namespace), query=query)
            except ApiError as error:
                if error.code != 410 or "continue" not in query:
                    raise
                found, query = [], _selectors(labels, fields)  # the pages took too long: all at once
                continue
            found += [self.kind.read(item) for item in answer["items"] or ()]
            if not (more := answer["metadata"].get("continue")):
                return found
            query["continue"] = more

    def watch(self, *, labels: str = "", fields: str = "") -> Iterator[Listed[T] | Change[T]]:
        """Yield what there is, then every change, for ever; failures are survived (see k8sext.kube.watch)."""
        client, path = self.connection.client, self.kind.resource.collection(self.namespace)
        stream = watch.list_and_watch(client, path, query=_selectors(labels, fields))
        for change in self.connection.background.iterate(stream):
            if isinstance(change, watch.Listed):
                yield Listed([self.kind.read(item) for item in change.items])
            else:
                yield Change(change.type, self.kind.read(change.object))

    def informer(self, *, labels: str = "", fields: str = "") -> Informer[T]:
        """Return an informer; it runs for the length of its `with` block."""
        return Informer(self.connection, self.kind, self.namespace, _selectors(labels, fields))


class Create(Resource[T]):
    """Objects can be created."""

    def create(self, item: T) -> T:
        """Create an object and return it as the server stored it. Raises ApiError (code 409 when the name is taken)."""
        return self.kind.read(self.connection.request("POST", self._collection(), self._body(item)[1]))


class Update(Resource[T]):
    """Objects can be replaced."""

    def update(self, item: T) -> T:
        """Replace an object. Raises ApiError (code 409 when someone else changed it since it was read)."""
        return self._put(item)


class Patch(Resource[T]):
    """Objects can be changed in part."""

    def patch(
        self, name: str, body: Body, kind: PatchKind = "merge", *, manager: str = "k8sext", force: bool = False
    ) -> T:
        """Change an object: "merge" and "strategic" take the fields to change, "json" a list of operations, "apply" see
        apply().

        `manager` and `force` are for "apply" alone. The server has no strategic merge patch for custom resources.
        """
        return self._patch(name, "", body, kind, _owner(manager, force) if kind == "apply" else {})

    def apply(self, item: T, manager: str, *, force: bool = False) -> T:
        """Create the object, or make it have these fields; `manager` owns them then (server-side apply, KEP-555).

        Raises ApiError (code 409 when another manager owns one of them, unless `force`).
        """
        name, body = self._body(item)
        return self._patch(name, "", body, "apply", _owner(manager, force))


class Delete(Resource[T]):
    """Objects can be deleted."""

    def delete(self, name: str, *, propagation: Literal["Background", "Foreground", "Orphan"] = "Background") -> None:
        """Delete an object; `propagation` says what becomes of the objects that it owns."""
        self.connection.request("DELETE", self._path(name), {"propagationPolicy": propagation})


class DeleteCollection(Resource[T]):
    """Many objects can be deleted at once."""

    def delete_collection(self, *, labels: str = "", fields: str = "") -> None:
        """Delete all objects that the selectors allow; in a namespace, never in all of them at once."""
        self.connection.request("DELETE", self._collection(), query=_selectors(labels, fields))


class Standard(Get[T], List[T], Create[T], Update[T], Patch[T], Delete[T], DeleteCollection[T]):
    """A resource with all verbs, as most are."""


class WithStatus(Resource[T]):
    """The status has a URL of its own, for the controller."""

    def update_status(self, item: T) -> T:
        """Replace the status; all other fields are ignored."""
        return self._put(item, "status")

    def patch_status(self, name: str, body: Body, kind: PatchKind = "merge") -> T:
        """Change the status in part."""
        return self._patch(name, "status", body, kind, {})


class WithScale(Resource[T]):
    """The number of replicas has a URL of its own, the same for all kinds."""

    def get_scale(self, name: str) -> Scale:
        """Return how many are wanted, and how many there are."""
        return Scale.from_dict(self.connection.request("GET", self._path(name, "scale")))

    def scale(self, name: str, replicas: int) -> Scale:
        """Want so many."""
        path, body = self._path(name, "scale"), {"spec": {"replicas": replicas}}
        return Scale.from_dict(self.connection.request("PATCH", path, body, content_type=rest.MERGE_PATCH))
