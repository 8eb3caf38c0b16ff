"""Initializers: plain functions that change objects which are stored, but not yet let loose.

    @initializer("team.init.example.com", "deployments.apps")
    def team(deployment, client):
        deployment["metadata"].setdefault("labels", {})["team"] = "weather"

The function gets a copy. Its change and the removal of its name are one write, with the resource version it has seen:
so it counts once, however many copies of the program run and whenever one of them is killed. It may be *called* again,
though, and what it does elsewhere must bear that. That only the first in the list acts is a convention, which the API
server never enforced: it is kept here.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from k8sext.admission.initializers.model import UNINITIALIZED, Initializers, Invalid, read, validate, write
from k8sext.admission.review import Denied
from k8sext.kube.controller import work
from k8sext.kube.events import EventRecorder
from k8sext.kube.informer import Informer, running
from k8sext.kube.objects import Json, key_of, reference_to, split_key
from k8sext.kube.queue import WorkQueue
from k8sext.kube.request import request
from k8sext.kube.resource import Resource, discover

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

Function = Callable[[Json, Any], Awaitable[None] | None]
Turn = Callable[[Json, str], Awaitable[None]]
"""Looks at one uninitialized object, a copy, that stands at a path."""
Place = tuple[Resource, str]
"""A resource and a namespace (empty: in all)."""


@dataclass(frozen=True)
class Initializer:
    """A function, the name under which it is configured, and what it initializes."""

    name: str
    resources: tuple[str, ...]
    function: Function

    def __call__(self, item: Json, client: Any = None) -> Any:
        """Call the function itself, as a test does."""
        return self.function(item, client)


def initializer(name: str, *resources: str) -> Callable[[Function], Initializer]:
    """Make `function(object, client)` the initializer of this name for resources as kubectl writes them.

    It changes the object, or raises Denied: then initialization has failed, and the object is removed. client is for
    requests (k8sext.kube.request). Raises ValueError for a name without three segments.
    """
    if not resources:
        raise ValueError(
            f'{name} initializes nothing: name resources, as in @initializer("{name}", "deployments.apps")'
        )
    try:
        validate(Initializers((name,)))
    except Invalid as error:
        raise ValueError(str(error)) from None
    return lambda function: Initializer(name, resources, function)


def is_next(item: Json, name: str) -> bool:
    """Whether it is the turn of this initializer: it is the first that is pending, and nothing has failed."""
    found = read(item)
    return found is not None and found.result is None and found.pending[:1] == (name,)


async def initialized(item: Json, initializer: Initializer, client: Any = None) -> Json:
    """The object after the turn of this initializer: changed and without its name; or unchanged, with a Failure."""
    after = copy.deepcopy(item)
    try:
        waiting = initializer(after, client)
        if inspect.isawaitable(waiting):
            await waiting
    except Denied as denied:
        failed = copy.deepcopy(item)
        status = {"status": "Failure", "message": denied.message, "reason": denied.reason, "code": denied.code}
        write(failed, Initializers((read(item) or Initializers()).pending, status))
        return failed
    write(after, (read(after) or Initializers()).without(initializer.name))
    return after


async def run(
    client: ApiClient, initializers: Sequence[Initializer], namespaces: Sequence[str], ready: Callable[[], None]
) -> None:
    """Initialize for ever, one object at a time for each initializer, in these namespaces (none named: in all)."""
    unready = set(initializers)

    def one_is_ready(found: Initializer) -> None:
        unready.discard(found)
        if not unready:
            ready()

    async with EventRecorder(client, "initializers") as events, asyncio.TaskGroup() as group:
        for found in initializers:
            told, turn = partial(one_is_ready, found), partial(_turn, client, found, events)
            group.create_task(follow(client, found.resources, namespaces, turn, told), name=found.name)


async def _turn(client: ApiClient, initializer: Initializer, events: EventRecorder, item: Json, path: str) -> None:
    if not is_next(item, initializer.name):
        return
    after = await initialized(item, initializer, client)
    await request(client, "PUT", path, after)
    if result := (read(after) or Initializers()).result:
        events.event(reference_to(item), "Warning", "InitializationFailed", result["message"])


async def follow(
    client: ApiClient, resources: Sequence[str], namespaces: Sequence[str], turn: Turn, ready: Callable[[], None]
) -> None:
    """Call turn for every uninitialized object of these resources, and again whenever it changes or the turn fails.

    `ready` is called when all that was there in the beginning is known.
    """
    queue: WorkQueue[tuple[Place, str]] = WorkQueue()
    informers: dict[Place, Informer] = {}
    for place in [(await discover(client, name), namespace) for name in resources for namespace in namespaces or [""]]:
        resource, namespace = place
        informers[place] = Informer(client, resource.collection(namespace), query={"labelSelector": UNINITIALIZED})
        informers[place].on_change(lambda _, item, place=place: queue.add((place, key_of(item))))

    async def reconcile(found: tuple[Place, str]) -> None:
        place, key = found
        if item := informers[place].store.get(key):
            namespace, name = split_key(key)
            await turn(copy.deepcopy(item), place[0].path(name, namespace))

    async with running(*informers.values()):
        ready()
        await work("uninitialized object", queue, reconcile)
