"""An informer: a local copy of a collection that follows the API server, and calls for whoever wants to hear of
changes.

The copy answers reads without a request, which is what lets a controller look at the whole world each time it decides.
It is always a little behind; a controller lives with that by deciding again when the next change arrives
(level-triggered), and by sending resource versions along with its writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from k8sext.kube.objects import Json, key_of
from k8sext.kube.request import Query
from k8sext.kube.store import IndexFunction, Store
from k8sext.kube.watch import INACTIVITY_TIMEOUT, Listed, list_and_watch

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

Change = Literal["ADDED", "MODIFIED", "DELETED"]
Handler = Callable[[Change, Json], None]
"""Hears of one change. It must be quick: usually it puts a key into a queue."""


class Informer:
    """Keeps `store` equal to a collection.

    `path` is the collection ("/api/v1/namespaces/web/pods"), `query` may hold labelSelector and fieldSelector,
    `indexes` are the store's, and `transform` may make each object smaller before it is stored (what a controller never
    reads costs memory all the same).
    """

    def __init__(
        self,
        client: ApiClient,
        path: str,
        *,
        query: Query | None = None,
        indexes: Mapping[str, IndexFunction] | None = None,
        transform: Callable[[Json], Json] | None = None,
        inactivity_timeout: float = INACTIVITY_TIMEOUT,
    ) -> None:
        self.path = path
        self.store = Store(indexes)
        self.synced = asyncio.Event()
        self._client = client
        self._query = query
        self._transform = transform or unchanged
        self._inactivity_timeout = inactivity_timeout
        self._handlers: list[Handler] = []

    def on_change(self, handler: Handler) -> None:
        """Call `handler` for every change from now on; what is in the store already is told to it first, as ADDED."""
        for item in self.store.list():
            handler("ADDED", item)
        self._handlers.append(handler)

    async def run(self) -> None:
        """Follow the collection for ever. `synced` is set when the first list is in the store."""
        stream = list_and_watch(self._client, self.path, query=self._query, inactivity_timeout=self._inactivity_timeout)
        async for change in stream:
            if isinstance(change, Listed):
                self._replace([self._transform(item) for item in change.items])
                self.synced.set()
            elif change.type == "DELETED":
                self._remove(key_of(change.object), self._transform(change.object))
            else:
                self._put(self._transform(change.object))

    def _replace(self, items: list[Json]) -> None:
        """What the new list does not name is gone; nobody told us, and nobody else will tell the handlers."""
        gone = set(self.store.keys()) - {key_of(item) for item in items}
        for key in gone:
            self._remove(key, None)
        for item in items:
            self._put(item)

    def _put(self, item: Json) -> None:
        before = self.store.put(item)
        if before is None:
            self._tell("ADDED", item)
        elif before["metadata"]["uid"] != item["metadata"]["uid"]:
            self._tell("DELETED", before)
            self._tell("ADDED", item)
        elif before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            self._tell("MODIFIED", item)

    def _remove(self, key: str, last: Json | None) -> None:
        before = self.store.remove(key)
        if before is not None:
            self._tell("DELETED", last or before)

    def _tell(self, change: Change, item: Json) -> None:
        for handler in self._handlers:
            try:
                handler(change, item)
            except Exception:
                log.exception("a handler of %s failed on %s %s", self.path, change, key_of(item))


@asynccontextmanager
async def running(*informers: Informer) -> AsyncGenerator[None, None]:
    """Run informers for the length of a block, which begins when all of them have their first list.

    A bug that ends one of them ends the block too (as an ExceptionGroup): better to be restarted than to work on an old
    picture.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(informer.run(), name=f"informer {informer.path}") for informer in informers]
        for informer in informers:
            await informer.synced.wait()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def unchanged(item: Json) -> Json:
    """The transform that keeps everything."""
    return item


def without_managed_fields(item: Json) -> Json:
    """A transform: drop the record of who set which field, often the biggest part of an object."""
    item["metadata"].pop("managedFields", None)
    return item
