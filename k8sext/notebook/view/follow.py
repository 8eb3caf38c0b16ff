"""Follow the API server from a thread of its own: what the view shows is always up to date, whatever the notebook is
doing.

Informers keep nodes, pods and the chosen kinds; they go on by themselves when the server was away. A cluster that was
made anew has a new kubeconfig, and then everything is begun anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8sext import files
from k8sext.kube.connect import ConnectError, from_kubeconfig
from k8sext.kube.informer import Informer
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Unreachable, request
from k8sext.kube.resource import EVENTS, NODES, PODS, Resource, discover
from k8sext.kube.watch import Listed, list_and_watch
from k8sext.notebook.view.model import Ring, World, happening_of, world_of

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

POLL = 1.0
ANSWER_WITHIN = 10.0

# What a thread prints would land in whatever cell is the last; a server that is away is told of in the view.
logging.getLogger("k8sext").addHandler(logging.NullHandler())


class Follower:
    """Follows one cluster. Everything but the constructor belongs to the event loop that runs `run`.

    `connected` says whether the server answers; `changed` is called whenever there may be something new to show.
    """

    def __init__(self, kubeconfig: str, kinds: Sequence[str], changed: Callable[[], None]) -> None:
        self.connected = True
        self._kubeconfig, self._changed = Path(kubeconfig), changed
        self._kinds = tuple(kinds)
        self._client: ApiClient | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._events = Ring()
        self._informers: dict[str, Informer] = {}
        self._resources: dict[str, Resource] = {"nodes": NODES, "pods": PODS}

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            made = files.stamp(self._kubeconfig)
            try:
                self._client = await from_kubeconfig(self._kubeconfig)
            except ConnectError:
                self._tell(connected=False)
                await asyncio.sleep(POLL)
                continue
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(task) for task in self._tasks(self._client)]
                    await self._watch_over(self._client, made)
                    for task in tasks:
                        task.cancel()
            finally:
                client, self._client = self._client, None
                await client.close()
            self._begin_anew()

    def world(self) -> World | None:
        """Return what is known now, None as long as the first lists are not there."""
        nodes, pods = (self._informers.get(name) for name in ("nodes", "pods"))
        if not (nodes and pods and nodes.synced.is_set() and pods.synced.is_set()):
            return None
        known = {kind: self._informers[kind].store.list() if kind in self._informers else None for kind in self._kinds}
        made = world_of(nodes.store.list(), pods.store.list(), known)
        return World(made.nodes, made.pods, made.resources, self._events.all())

    async def read(self) -> World:
        """Ask the server anew, so that the answer holds all that was done before. Raises ApiError or Unreachable."""
        client = self._client or await self._until_connected()
        nodes, pods = [await _items(client, resource) for resource in (NODES, PODS)]
        resources: dict[str, list[Json] | None] = {}
        for kind in self._kinds:
            resource = await _resource(client, kind)
            resources[kind] = await _items(client, resource) if resource else None
        return world_of(nodes, pods, resources)

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """Fetch one object, of "nodes", "pods" or a chosen kind. Raises ApiError or Unreachable."""
        client, resource = self._client, self._resources.get(kind)
        if client is None or resource is None:
            raise Unreachable("the cluster does not answer")
        return await request(client, "GET", resource.path(name, namespace))

    def version(self, kind: str, namespace: str, name: str) -> str:
        """Return the resource version under which an object is known, or nothing."""
        informer = self._informers.get(kind)
        item = informer.store.get(f"{namespace}/{name}" if namespace else name) if informer else None
        return item["metadata"]["resourceVersion"] if item else ""

    def _tasks(self, client: ApiClient) -> list[Coroutine[Any, Any, None]]:
        followed = [self._follow(client, kind) for kind in ("nodes", "pods", *self._kinds)]
        return [*followed, self._follow_events(client)]

    async def _follow(self, client: ApiClient, kind: str) -> None:
        while kind not in self._resources:
            with suppress(ApiError, Unreachable):
                if resource := await _resource(client, kind):
                    self._resources[kind] = resource
                    break
            await asyncio.sleep(POLL)
        informer = self._informers[kind] = Informer(client, self._resources[kind].collection(), transform=shown_fields)
        informer.on_change(lambda change, item: self._changed())
        await informer.run()

    async def _follow_events(self, client: ApiClient) -> None:
        async for change in list_and_watch(client, EVENTS.collection()):
            if isinstance(change, Listed):
                self._events = Ring()
                for event in sorted(map(happening_of, change.items), key=lambda event: event.time):
                    self._events.put(event)
            elif change.type != "DELETED":
                self._events.put(happening_of(change.object))
            self._changed()

    async def _watch_over(self, client: ApiClient, made: tuple[int, int] | None) -> None:
        """Ask from time to time whether the server is there, and return when there is another kubeconfig."""
        while files.stamp(self._kubeconfig) in (made, None):
            try:
                await request(client, "GET", "/version", timeout=ANSWER_WITHIN)
                self._tell(connected=True)
            except (ApiError, Unreachable):
                self._tell(connected=False)
            await asyncio.sleep(POLL)

    async def _until_connected(self) -> ApiClient:
        while self._client is None:
            await asyncio.sleep(0.02)
        return self._client

    def _tell(self, connected: bool) -> None:
        if connected != self.connected:
            self.connected = connected
            self._changed()


async def _resource(client: ApiClient, kind: str) -> Resource | None:
    """Return where a kind's objects stand ("weatherreports.k8s.packt.com", "configmaps"), None if there is no such kind
    (yet).

    Raises ApiError or Unreachable.
    """
    try:
        return await discover(client, kind, timeout=ANSWER_WITHIN)
    except ApiError as error:
        if error.code != 404:
            raise
    except ValueError:
        pass
    return None


async def _items(client: ApiClient, resource: Resource) -> list[Json]:
    return (await request(client, "GET", resource.collection(), timeout=ANSWER_WITHIN))["items"]


def shown_fields(item: Json) -> Json:
    """A transform: keep of an object what the view reads; the rest is fetched when somebody looks at it."""
    metadata = {
        field: item["metadata"][field]
        for field in ("name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp")
        if field in item["metadata"]
    }
    spec = item.get("spec")
    spec = {field: spec[field] for field in ("nodeName", "taints") if field in spec} if isinstance(spec, dict) else {}
    status = item.get("status")
    status = {field: status[field] for field in SHOWN if field in status} if isinstance(status, dict) else {}
    return {"metadata": metadata, "spec": spec, "status": status}


SHOWN = (
    *("phase", "state", "conditions", "message", "reason"),
    *("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"),
)


def chosen_kubeconfig() -> str:
    """Return the kubeconfig that `%load_ext k8sext` chose, nothing if it did not."""
    return os.environ.get("KUBECONFIG", "")
