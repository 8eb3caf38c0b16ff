"""The two things about initializers that webhooks alone cannot do, in a proxy before the API server.

* LIST and WATCH leave out what is not initialized, unless the client asks with `?includeUninitialized=true`. The proxy
  reads no object for that: it adds a label selector, and the API server does the rest. To a watch with a selector, an
  object that begins to match is ADDED, which is what 1.9 showed on release.
* A request that creates an object is answered when that object is initialized (see `waiting`).

Everything else passes through as it is, chunk by chunk. GET by name finds uninitialized objects, as the code of 1.9 did
(its design wanted a 202). Deleting a collection deletes them, too.

**The proxy has no rights.** It passes on the requester's bearer token and holds no credentials of its own, so a request
has exactly its own user's rights, impersonation included. A client certificate ends at the proxy's TLS and cannot be
passed on: a request without a token is refused in a sentence. So are exec, attach and port-forward, which need a
connection that is more than HTTP.
"""

from __future__ import annotations

import json
import logging
import ssl
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from k8sext.admission.initializers.model import UNINITIALIZED
from k8sext.admission.initializers.waiting import (
    CannotWatch,
    Outcome,
    failure,
    is_initialized,
    until_initialized,
)
from k8sext.kube.resource import split
from k8sext.kube.serve import LONGEST_HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

INCLUDE = "includeUninitialized"
INITIALIZED_ONLY = f"!{UNINITIALIZED}"
LONGEST_WAIT = 30.0
READ_AHEAD = 2**18
"""Bytes that are read from the API server before the client took what came earlier (at most twice that is held)."""
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"}
HOP_BY_HOP |= {"trailer", "transfer-encoding", "upgrade", "host"}
NO_TOKEN = (
    "this proxy has no rights of its own and passes on bearer tokens only, not client certificates: "
    "log in with a token, as kubectl create token makes one"
)
NO_UPGRADE = "this proxy does not pass on exec, attach and port-forward: send them to the API server itself"


class Proxy:
    """Stands before one API server. `server` is its URL, `trust` knows its authority and no key of a client."""

    def __init__(self, server: str, trust: ssl.SSLContext, longest_wait: float = LONGEST_WAIT) -> None:
        self._server = server.rstrip("/")
        self._trust = trust
        self._longest_wait = longest_wait
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self, context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen with this certificate; returns the port. Raises OSError when it is taken."""
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            read_bufsize=READ_AHEAD,
            skip_auto_headers=["Accept", "Accept-Encoding", "Content-Type", "User-Agent"],
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        # A client that hangs up ends the request behind the proxy, too: else watches would stay open.
        server = web.Server(
            self._handle,
            access_log=None,
            handler_cancellation=True,
            max_line_size=LONGEST_HEAD,
            max_field_size=LONGEST_HEAD,
        )
        runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
        self._runner = runner
        return runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if hdrs.UPGRADE in request.headers:
            return _refusal(400, NO_UPGRADE)
        if not request.headers.get(hdrs.AUTHORIZATION, "").startswith("Bearer "):
            return _refusal(403, NO_TOKEN)
        try:
            return await self._pass_on(request)
        except aiohttp.ClientError as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            return _response(failure(502, "ServiceUnavailable", f"the API server does not answer: {error}"))

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._session is not None
        path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
        asked = query
        if request.method in ("GET", "HEAD") and is_collection(path):
            query = visible(query)
        elif "includeUninitialized" in query:
            query = without_include(query)
        headers = _passed(request.headers)
        may_wait = _creates(request) and not includes_uninitialized(asked) and "dryRun" not in request.query
        if may_wait and "application/json" in headers.get(hdrs.ACCEPT, "*/*"):
            headers[hdrs.ACCEPT] = "application/json"  # one of those the client can read, and the one that we can
            headers.pop(hdrs.ACCEPT_ENCODING, None)
        url = URL(f"{self._server}{path}{'?' + query if query else ''}", encoded=True)
        body = request.content if request.body_exists else None
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            if may_wait and answer.status == 201 and answer.content_type == "application/json":
                return await self._answer_when_initialized(request, answer)
            return await _relay(request, answer)

    async def _answer_when_initialized(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        assert self._session is not None
        text = await answer.read()
        created = json.loads(text)
        unchanged = web.Response(status=201, headers=_passed(answer.headers), body=text)
        if is_initialized(created):
            return unchanged
        path = request.rel_url.raw_path
        collection = path if is_collection(path) else path.rpartition("/")[0]
        own = {key: value for key, value in request.headers.items() if _says_who(key)}
        limit = min(_seconds(request.query.get("timeout", "")) or self._longest_wait, self._longest_wait)
        try:
            outcome = await until_initialized(self._session, self._server + collection, own, created, limit)
        except CannotWatch as error:
            unchanged.headers["Warning"] = (
                f'299 - "created, but not waited until it was initialized: {_quoted(str(error))}"'
            )
            return unchanged
        return _response(outcome)


def is_collection(path: str) -> bool:
    """Whether all objects of a resource stand there (also in the old form /api/v1/watch/...), and not one of them."""
    named = split(path)
    rest = named[2] if named else []
    if rest[:1] == ["watch"]:
        rest = rest[1:]
    return len(rest) == 1 or (len(rest) == 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"))


def visible(query: str) -> str:
    """The query of a LIST or WATCH, so that it finds initialized objects only, unless it asks for the others, too."""
    wanted = parse_qsl(query, keep_blank_values=True)
    parameters = [(key, value) for key, value in wanted if key != INCLUDE]
    if not includes_uninitialized(query):
        selectors = [value for key, value in parameters if key == "labelSelector" and value]
        parameters = [(key, value) for key, value in parameters if key != "labelSelector"]
        parameters.append(("labelSelector", ",".join([*selectors, INITIALIZED_ONLY])))
    return urlencode(parameters)


def includes_uninitialized(query: str) -> bool:
    """Whether a request asks for uninitialized objects, too, or does not want to wait."""
    return dict(parse_qsl(query, keep_blank_values=True)).get(INCLUDE, "false").lower() in ("", "1", "t", "true")


def without_include(query: str) -> str:
    """The query without what the API server of today does not know."""
    return urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != INCLUDE])


async def _relay(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Hand on an answer as it comes. A client that reads slowly slows down the API server; nothing piles up here."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_passed(answer.headers))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, OSError) as error:
        # One side is gone. For another status it is too late, and an end in good order would be a lie about the rest.
        log.info("%s %s ended early: %s", request.method, request.path, error)
        if request.transport:
            request.transport.abort()
    return response


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that go on to the other side, repeated ones joined."""
    found: dict[str, str] = {}
    for key, value in headers.items():
        if key.lower() not in HOP_BY_HOP:
            found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _says_who(header: str) -> bool:
    return header.lower() == "authorization" or header.lower().startswith("impersonate-")


def _creates(request: web.BaseRequest) -> bool:
    """POST to a collection, or one of the two that create what they find missing (server-side apply is a PATCH)."""
    path = request.rel_url.raw_path
    if request.method == "POST":
        return is_collection(path)
    return request.method in ("PUT", "PATCH") and is_collection(path.rpartition("/")[0])


def _seconds(duration: str) -> float:
    """A duration as Go writes it, of whole seconds or minutes ("30s", "1m0s"); 0 for none, or one we cannot read."""
    minutes, _, seconds = duration.rpartition("m")
    try:
        return 60 * float(minutes or 0) + float(seconds.removesuffix("s") or 0)
    except ValueError:
        return 0


def _quoted(text: str) -> str:
    return text.replace("\\", "").replace('"', "'").replace("\n", " ")


def _refusal(code: int, sentence: str) -> web.Response:
    """kubectl shows a plain text always; of a Status in an answer to discovery, or of a 401, it shows nothing."""
    return web.Response(status=code, text=sentence)


def _response(outcome: Outcome) -> web.Response:
    return web.json_response(outcome.body, status=outcome.code)
