"""A scheduler extender: kube-scheduler asks this server over HTTP before it decides.

An extender sees the nodes that passed kube-scheduler's own filters. It may strike some out (filter), give points
(prioritize, 0 to 10, multiplied by the weight in the configuration) and do the binding itself (bind). It needs no Go
and no rebuilt kube-scheduler, and costs a request for each pod. Source: KEP-1819; types of
k8s.io/kube-scheduler/extender/v1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from k8sext.kube.background import BackgroundTask
from k8sext.kube.objects import Json

FilterFunction = Callable[[Json, list[str]], Mapping[str, str]]
"""Given a pod and the names of nodes: the reasons against some of them, by name."""
PrioritizeFunction = Callable[[Json, list[str]], Mapping[str, int]]
"""Given a pod and the names of nodes: points from 0 to 10, by name."""
BindFunction = Callable[[str, str, str], Awaitable[None]]
"""Given namespace, name and node: binds. What it raises is told to kube-scheduler."""

LONGEST_BODY = 64 * 1024 * 1024
HIGHEST = 10


@asynccontextmanager
async def extender(
    *,
    filter: FilterFunction | None = None,
    prioritize: PrioritizeFunction | None = None,
    bind: BindFunction | None = None,
    port: int = 0,
) -> AsyncGenerator[str]:
    """Serve an extender for the length of a block; yields its URL, the `urlPrefix` of the configuration."""

    async def on_filter(request: web.Request) -> web.Response:
        pod, names, nodes = await _question(request)
        failed = dict(filter(pod, names)) if filter else {}
        # who asked with whole nodes looks for whole nodes in the answer
        left: Json = {"nodenames": [name for name in names if name not in failed]}
        if nodes is not None:
            left = {"nodes": {"items": [node for node in nodes if node["metadata"]["name"] not in failed]}}
        return web.json_response(left | {"failedNodes": failed})

    async def on_prioritize(request: web.Request) -> web.Response:
        pod, names, _ = await _question(request)
        points = prioritize(pod, names) if prioritize else dict[str, int]()
        return web.json_response([{"host": name, "score": max(0, min(HIGHEST, points.get(name, 0)))} for name in names])

    async def on_bind(request: web.Request) -> web.Response:
        question = await _body(request)
        try:
            if bind is None:
                raise RuntimeError("this extender does not bind")
            await bind(question["podnamespace"], question["podname"], question["node"])
        except Exception as error:
            return web.json_response({"error": str(error) or type(error).__name__})
        return web.json_response({})

    app = web.Application(client_max_size=LONGEST_BODY)
    app.add_routes([web.post("/filter", on_filter), web.post("/prioritize", on_prioritize), web.post("/bind", on_bind)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def in_background(**functions: Any) -> str:
    """Serve an extender beside a notebook until this process ends, and return its URL."""
    url: list[str] = []

    async def serve(ready: Callable[[], None]) -> None:
        async with extender(**functions) as address:
            url.append(address)
            ready()
            await asyncio.Event().wait()

    BackgroundTask(serve, "extender")
    return url[0]


async def _question(request: web.Request) -> tuple[Json, list[str], list[Json] | None]:
    """Read ExtenderArgs: the pod, the names of nodes, and where nodeCacheCapable is not set the nodes themselves."""
    question = await _body(request)
    try:
        names: list[str] | None = question.get("nodenames")
        if names is not None:
            return question["pod"], names, None
        nodes: list[Json] = question["nodes"]["items"]
        return question["pod"], [node["metadata"]["name"] for node in nodes], nodes
    except (LookupError, TypeError) as error:
        raise web.HTTPBadRequest(text="this is no question of a scheduler") from error


async def _body(request: web.Request) -> Json:
    """Read a JSON object. Versions of kube-scheduler write its keys in different cases ("Pod", "pod")."""
    try:
        return {key.lower(): value for key, value in (await request.json()).items()}
    except (ValueError, AttributeError) as error:
        raise web.HTTPBadRequest(text="this is no JSON object") from error


def configuration(kubeconfig: str, scheduler_name: str, url: str, **more: Any) -> Json:
    """A KubeSchedulerConfiguration that names this extender. `more` is added to the extender's entry."""
    entry = {
        "urlPrefix": url,
        "filterVerb": "filter",
        "prioritizeVerb": "prioritize",
        "weight": 1,
        "nodeCacheCapable": True,
    }
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "leaderElection": {"leaderElect": False},
        "profiles": [{"schedulerName": scheduler_name}],
        "extenders": [entry | more],
    }
