"""What the API server asks a kubelet for: logs, exec, attach, and of the node (`node_endpoints`).

Only the API server gets in: HTTPS, and a client certificate of the cluster's authority that names it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

from k8sext.infra.addresses import KUBELET_PORT
from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.runtime.cache import RUNNING, PodCache
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure
from k8sext.infra.kubelet.server import logs, streams
from k8sext.infra.kubelet.server.node_endpoints import NodeEndpoints
from k8sext.kube.objects import Json
from k8sext.kube.pod import all_containers
from k8sext.kube.serve import LONGEST_HEAD

API_SERVER = "kube-apiserver-kubelet-client"

FindPod = Callable[[str, str], Json | None]
EndOf = Callable[[str], Callable[[], bool]]


class Server:
    """The HTTPS server of one node. `find_pod` knows pods by namespace and name, `end_of` when a container ends."""

    def __init__(
        self,
        runtime: RuntimeClient,
        cache: PodCache,
        session: aiohttp.ClientSession,
        find_pod: FindPod,
        end_of: EndOf,
        endpoints: NodeEndpoints,
    ) -> None:
        self._runtime, self._cache, self._session = runtime, cache, session
        self._find_pod, self._end_of = find_pod, end_of
        self._app = web.Application(middlewares=[_only_the_api_server])
        route = "/{namespace}/{pod}/{container}"
        self._app.router.add_routes(endpoints.routes())
        self._app.router.add_get("/containerLogs" + route, self._logs)
        for name, handler in (("exec", self._exec), ("attach", self._attach)):
            for path in (f"/{name}{route}", f"/{name}/{{namespace}}/{{pod}}/{{uid}}/{{container}}"):
                self._app.router.add_route("*", path, handler)
        for path in ("/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}"):
            self._app.router.add_route("*", path, self._port_forward)

    async def start(
        self, address: str, certificate: Path, key: Path, client_ca: Path, port: int = KUBELET_PORT
    ) -> web.AppRunner:
        """Listen. Stop it by `cleanup()` of what is returned. Raises OSError if the port is taken."""
        # a reader who leaves ends the handler, even one that waits for the next line of a log
        runner = web.AppRunner(
            self._app,
            access_log=None,
            shutdown_timeout=0.1,
            handler_cancellation=True,
            max_line_size=LONGEST_HEAD,
            max_field_size=LONGEST_HEAD,
        )
        await runner.setup()
        await web.TCPSite(runner, address, port, ssl_context=_tls(certificate, key, client_ca)).start()
        return runner

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        run = await self._find_run(request, previous=request.query.get("previous") == "true")
        wanted = _wanted(request.query)
        path = Path(run.log_path)
        if not path.is_file():
            raise web.HTTPBadRequest(text=f"the log of container {run.metadata.name} is gone")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        is_over = self._end_of(run.id) if run.state == RUNNING else lambda: True
        with contextlib.suppress(ConnectionError):  # the reader has had enough
            async for text in logs.read(path, wanted, is_over):
                await response.write(text)
            await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        run = await self._find_running(request)
        question = cri.ExecRequest(container_id=run.id, cmd=request.query.getall("command", []), **_streams(request))
        return await self._stream(request, self._runtime.exec(question))

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        run = await self._find_running(request)
        question = cri.AttachRequest(container_id=run.id, **_streams(request))
        return await self._stream(request, self._runtime.attach(question))

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        sandbox = (await self._cache.state(podspec.uid(pod))).sandbox
        if sandbox is None:
            raise web.HTTPBadRequest(text=f"pod {pod['metadata']['name']} is not running")
        ports = _ports(request.query.getall("ports", []))
        return await self._stream(request, self._runtime.port_forward(sandbox.id, ports))

    async def _stream(self, request: web.Request, url: Awaitable[str]) -> web.StreamResponse:
        try:
            return await streams.proxy(request, self._session, await url)
        except RuntimeFailure as error:
            raise web.HTTPInternalServerError(text=f"the runtime refuses: {error.message}") from error

    async def _find_running(self, request: web.Request) -> cri.ContainerStatus:
        run = await self._find_run(request)
        if run.state != RUNNING:
            raise web.HTTPBadRequest(text=f"container {run.metadata.name} is not running")
        return run

    def _pod(self, request: web.Request) -> Json:
        names = request.match_info
        pod = self._find_pod(names["namespace"], names["pod"])
        if pod is None or names.get("uid", podspec.uid(pod)) != podspec.uid(pod):
            raise web.HTTPNotFound(text=f'pod "{names["namespace"]}/{names["pod"]}" does not run on this node')
        return pod

    async def _find_run(self, request: web.Request, *, previous: bool = False) -> cri.ContainerStatus:
        names, pod = request.match_info, self._pod(request)
        name = names["container"]
        if name not in (container["name"] for container in all_containers(pod)):
            raise web.HTTPBadRequest(text=f'container "{name}" in pod "{names["pod"]}" is not available')
        try:
            runs = (await self._cache.state(podspec.uid(pod))).runs(name)
        except RuntimeFailure as error:
            raise web.HTTPInternalServerError(text=f"the runtime does not answer: {error.message}") from error
        if previous and len(runs) < 2:
            raise web.HTTPBadRequest(text=f'previous terminated container "{name}" in pod "{names["pod"]}" not found')
        if not runs:
            state = podspec.container_status(pod, name).get("state") or {}
            reason = state.get("waiting", {}).get("reason", "ContainerCreating")
            raise web.HTTPBadRequest(text=f'container "{name}" in pod "{names["pod"]}" is waiting to start: {reason}')
        return runs[1 if previous else 0]


def _wanted(query: Mapping[str, str]) -> logs.Wanted:
    try:
        since = None
        if "sinceSeconds" in query:
            since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
        elif "sinceTime" in query:
            since = datetime.fromisoformat(query["sinceTime"])
            if since.tzinfo is None:
                raise ValueError(f"sinceTime {query['sinceTime']} has no time zone")
        return logs.Wanted(
            follow=query.get("follow") == "true",
            tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
            since=since,
            timestamps=query.get("timestamps") == "true",
            limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
        )
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the log options make no sense: {error}") from error


def _ports(texts: list[str]) -> list[int]:
    """The ports of a WebSocket's URL: `ports=80,81` or once for each."""
    words = [word for text in texts for word in text.split(",")]
    if not all(word.isdecimal() and 0 < int(word) < 1 << 16 for word in words):
        raise web.HTTPBadRequest(text=f"the query parameter ports must name numbers from 1 to 65535, not {texts}\n")
    return [int(word) for word in words]


def _streams(request: web.Request) -> dict[str, bool]:
    tty = request.query.get("tty") in ("1", "true")
    asked = {
        name: request.query.get(key) in ("1", "true")
        for name, key in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"))
    }
    return asked | {"tty": tty, "stderr": asked["stderr"] and not tty}


def _tls(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL  # who comes without one is told so, in words
    return context


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _only_the_api_server(request: web.Request, handler: Handler) -> web.StreamResponse:
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    if not certificate:
        return web.Response(status=401, text="Unauthorized: this kubelet wants a client certificate.\n")
    names = [value for part in certificate["subject"] for field, value in part if field == "commonName"]
    if names != [API_SERVER]:
        return web.Response(status=403, text=f"Forbidden: only the API server may ask, and {names} is not it.\n")
    return await handler(request)
