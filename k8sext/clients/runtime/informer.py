"""A typed informer and lister: a local copy of a collection that follows the API server, read without a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Literal, TypeVar

from k8sext.clients.runtime.connection import Connection
from k8sext.clients.runtime.kind import Kind
from k8sext.clients.runtime.model import Model
from k8sext.kube import informer as kube_informer
from k8sext.kube.objects import Json
from k8sext.kube.request import Query
from k8sext.kube.store import Store

T = TypeVar("T", bound=Model)
Handler = Callable[[Literal["ADDED", "MODIFIED", "DELETED"], T], None]


class Lister(Generic[T]):
    """Reads the informer's copy. Each answer is an object of its own, free to be changed."""

    def __init__(self, connection: Connection, kind: Kind[T], store: Store) -> None:
        self._connection, self._kind, self._store = connection, kind, store

    def get(self, name: str, namespace: str = "") -> T | None:
        """Return one object, None if there is none."""
        key = f"{namespace}/{name}" if namespace else name
        item = self._connection.background.do(lambda: self._store.get(key))
        return self._kind.read(item) if item is not None else None

    def list(self, namespace: str = "") -> list[T]:
        """Return all objects, or those of one namespace."""
        return [self._kind.read(item) for item in self._connection.background.do(lambda: self._store.list(namespace))]


class Informer(Generic[T]):
    """Follows a collection for the length of its `with` block, which begins when the first list is there:

    with client.deployments("web").informer() as lister:
        lister.get("shop", "web")
    """

    def __init__(self, connection: Connection, kind: Kind[T], namespace: str, query: Query) -> None:
        self._connection, self._kind = connection, kind
        self._informer = connection.background.do(
            lambda: kube_informer.Informer(connection.client, kind.resource.collection(namespace), query=query)
        )
        self._running: Future[None] | None = None

    def on_change(self, handler: Handler[T]) -> None:
        """Call `handler` for every change from now on, in the client's thread: it must be quick, and make no requests
        itself."""

        def typed(change: Literal["ADDED", "MODIFIED", "DELETED"], item: Json) -> None:
            handler(change, self._kind.read(item))

        self._connection.background.do(lambda: self._informer.on_change(typed))

    def __enter__(self) -> Lister[T]:
        self._running = self._connection.background.start(self._informer.run())
        self._connection.background.call(_wait(self._informer.synced))
        return Lister(self._connection, self._kind, self._informer.store)

    def __exit__(self, *exc: object) -> None:
        if self._running:
            self._running.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
