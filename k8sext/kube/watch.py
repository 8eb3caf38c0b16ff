"""List and watch: a stream of what a collection holds, that never ends and never lies.

A watch is one HTTP answer that the server keeps open and writes a line into for every change. Four things go wrong with
it, and each has its cure here (KEP-956 tells of bookmarks, the page "Kubernetes API Concepts" of the rest):

* the server closes it, on purpose, after a while:   we ask for a time of our own choice and go on where we stopped;
* the connection dies without a word:                bookmarks make a healthy watch speak about once a minute, so after
  a longer
                                                     silence we ask again, from where we stopped;
* our place in history is forgotten (410 Gone):      list again, and tell the reader so with a new `Listed`;
* the server comes back to a thousand clients:       wait a random time, longer after each failure.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import aiohttp

from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Query, Unreachable, request, send

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

INACTIVITY_TIMEOUT = 90.0
"""Seconds of silence after which a watch is opened anew. A bookmark is due about every 60, but a server that has not
seen any change of this kind of object since it started sends none, so silence is not worth a warning."""


@dataclass(frozen=True)
class Listed:
    """All objects there are, now. What is not among them is gone, whatever was said before."""

    items: list[Json]


@dataclass(frozen=True)
class Changed:
    """One object changed."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Json


class _Expired(Exception):
    """The server no longer knows the resource version we stopped at."""


class _Silent(Exception):
    """Nothing was heard for too long."""


class _Broken(Exception):
    """The stream ended in a way it should not."""


async def list_and_watch(
    client: ApiClient,
    path: str,
    *,
    query: Query | None = None,
    inactivity_timeout: float = INACTIVITY_TIMEOUT,
    first_delay: float = 0.2,
    longest_delay: float = 30.0,
) -> AsyncGenerator[Listed | Changed, None]:
    """Yield a `Listed`, then a `Changed` for every change, for ever; after a gap in history a new `Listed`.

    `path` is a collection ("/api/v1/pods"), `query` may hold fieldSelector and labelSelector. No failure of the server
    or of the network is raised: it is logged, and tried again after a random delay that doubles from `first_delay` to
    `longest_delay`.
    """
    query = query or {}
    delay = first_delay
    version = ""
    while True:
        try:
            if not version:
                items, version = await _list(client, path, query)
                yield Listed(items)
            news = False
            async for change, seen in _watch(client, path, query, version, inactivity_timeout):
                news, delay, version = True, first_delay, seen
                if change is not None:
                    yield change
            if news:
                # a watch that ends without a word comes from something that is not well: wait, as after an error
                continue
        except _Silent:
            continue
        except _Expired:
            version = ""
        except (ApiError, Unreachable, _Broken) as error:
            log.warning("watching %s: %s; trying again", path, error)
        await asyncio.sleep(delay * random.uniform(0.5, 1.5))
        delay = min(delay * 2, longest_delay)


async def _list(client: ApiClient, path: str, query: Query) -> tuple[list[Json], str]:
    answer = await request(client, "GET", path, query=query)
    try:
        # the items of a list leave out what the list says once
        kind = {"apiVersion": answer["apiVersion"], "kind": answer["kind"].removesuffix("List")}
        items: list[Json] = answer["items"] or []
        return [kind | item for item in items], answer["metadata"]["resourceVersion"]
    except (LookupError, TypeError, AttributeError) as error:
        raise _Broken("the answer is not a list of objects") from error


async def _watch(
    client: ApiClient, path: str, query: Query, version: str, inactivity_timeout: float
) -> AsyncIterator[tuple[Changed | None, str]]:
    """Yield each change (None for a bookmark) with the resource version to go on from."""
    query = {
        **query,
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": random.randint(300, 600),
    }
    limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=inactivity_timeout)
    try:
        response = await send(client, "GET", path, query=query, timeout=limit)
        async with response:
            while line := await response.content.readline():
                yield _decode(line)
    except ApiError as error:
        if error.code == 410:
            raise _Expired from error
        raise
    except TimeoutError as error:
        raise _Silent from error
    except (aiohttp.ClientError, OSError) as error:
        raise _Broken(f"the stream broke ({error or type(error).__name__})") from error


def _decode(line: bytes) -> tuple[Changed | None, str]:
    try:
        event = json.loads(line)
        kind, item = event["type"], event["object"]
        if kind != "ERROR":
            return (None if kind == "BOOKMARK" else Changed(kind, item)), item["metadata"]["resourceVersion"]
        code, message = item["code"], item.get("message", "")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Broken(f"a line makes no sense: {line[:80]!r}") from error
    raise _Expired if code == 410 else _Broken(f"the server says: {message}")
