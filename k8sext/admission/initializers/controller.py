"""Initializers: plain functions that change objects which are stored, but not yet let loose.

    @initializer("team.init.example.com", "deployments.apps")
    def team(deployment, client):
        deployment["metadata"].setdefault("labels", {})["team"] = "weather"

The function gets a copy. Its change and the removal of its name are one write, with the resource version it has seen: so it counts
once, however many copies of the program run and whenever one of them is killed. It may be *called* again, though, and what it does
elsewhere must bear that. That only the first in the list acts is a convention, which the API server never enforced: it is kept here.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8sext.admission.initializers.configurations import collection, locate
from k8sext.admission.initializers.model import UNINITIALIZED, Initializers, Invalid, read, validate, write
from k8sext.admission.review import Denied, Json
from k8sext.kube.events import EventRecorder, reference_to
from k8sext.kube.informer import Informer, running
from k8sext.kube.queue import WorkQueue
from k8sext.kube.request import ApiError, Unreachable, request
from k8sext.kube.store import key_of, split_key

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

FIRST_RETRY, LONGEST_RETRY = 0.05, 5.0
CONFLICT, GONE = 409, 404

Function = Callable[[Json, Any], Awaitable[None] | None]
Work = Callable[[Json, str], Awaitable[None]]
"""Looks at one uninitialized object, a copy, that stands at a path."""


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

    It changes the object, or raises Denied: then initialization has failed, and the object is removed. client is for requests
    (k8sext.kube.request). Raises ValueError for a name without three segments.
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
    """The object after the turn of this initializer: changed, and without its name; or as it was, with a Failure as result."""
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
    async with EventRecorder(client, "initializers") as events, asyncio.TaskGroup() as group:
        unready = set(initializers)

        def one_is_ready(found: Initializer) -> None:
            unready.discard(found)
            if not unready:
                ready()

        for found in initializers:
            work = _turn(client, found, events)
            group.create_task(
                follow(client, found.resources, namespaces, work, lambda found=found: one_is_ready(found)),
                name=found.name,
            )


def _turn(client: ApiClient, initializer: Initializer, events: EventRecorder) -> Work:
    async def work(item: Json, path: str) -> None:
        if not is_next(item, initializer.name):
            return
        after = await initialized(item, initializer, client)
        await request(client, "PUT", path, after)
        if result := (read(after) or Initializers()).result:
            events.event(reference_to(item), "Warning", "InitializationFailed", result["message"])

    return work


async def follow(
    client: ApiClient, resources: Sequence[str], namespaces: Sequence[str], work: Work, ready: Callable[[], None]
) -> None:
    """Call work for every uninitialized object of these resources, and again whenever it changes or the work fails.

    `ready` is called when all that was there in the beginning is known.
    """
    queue: WorkQueue[tuple[str, str]] = WorkQueue(first_retry=FIRST_RETRY, longest_retry=LONGEST_RETRY)
    informers: dict[str, Informer] = {}
    places = {}
    for resource in [await locate(client, name) for name in resources]:
        for namespace in namespaces or [""]:
            path = collection(resource, namespace)
            informers[path] = Informer(client, path, query={"labelSelector": UNINITIALIZED})
            informers[path].on_change(lambda _, item, path=path: queue.add((path, key_of(item))))
            places[path] = resource
    async with running(*informers.values()):
        ready()
        while True:
            path, key = wanted = await queue.get()
            try:
                item = informers[path].store.get(key)
                if item is not None:
                    namespace, name = split_key(key)
                    await work(copy.deepcopy(item), f"{collection(places[path], namespace)}/{name}")
                queue.forget(wanted)
            except Exception as error:
                _note(error, key)
                queue.add_rate_limited(wanted)
            finally:
                queue.done(wanted)


def _note(error: Exception, key: str) -> None:
    """Somebody else was faster, or the object is gone: that is daily life. A function that crashed is not."""
    if isinstance(error, ApiError) and error.code in (CONFLICT, GONE):
        log.debug("%s: %s", key, error)
    elif isinstance(error, (ApiError, Unreachable)):
        log.warning("%s: %s; trying again", key, error)
    else:
        log.error("%s: an initializer crashed; trying again", key, exc_info=error)
