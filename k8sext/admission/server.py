"""The transport: HTTPS in front of the engine. What goes wrong here never turns into a yes.

The API server reads any answer but 200 with a review in it as "no answer", and then failurePolicy decides. So every
mistake, ours or the caller's, gets an HTTP status of its own: 400 not a review, 403 not the API server, 408 too slow,
413 too large, 415 no JSON, 500 the function crashed, 504 it did not return in time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from k8sext.admission.engine import Answer, answer
from k8sext.admission.functions import AdmissionWebhook, Webhook, check_names
from k8sext.admission.review import BadReview
from k8sext.admission.tls import show
from k8sext.kube.certificates import Pair
from k8sext.kube.objects import Json

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 2**20
"""A review of an update holds an object twice, and the API server takes objects of up to 3 MiB."""
READ_LIMIT = 5.0
HANDSHAKE_LIMIT = 5.0
GRACE = 0.25
"""Seconds beyond a webhook's timeout: the clock of the API server, which began earlier, is to run out first."""
REMEMBERED = 10_000


@dataclass(frozen=True)
class Call:
    """One call of a webhook, for the one who looks on."""

    webhook: str
    kind: str
    began: float
    """Seconds since 1970, as time.time()."""
    seconds: float
    outcome: str
    """allowed, denied, changed, known, unknown, no opinion; or refused, crashed and timed out: no answer, failurePolicy
    decides"""
    subject: str = ""
    user: str = ""
    detail: str = ""
    call: str = ""


class WebhookServer:
    """Serves webhooks on one address. `context` decides about TLS; `calls` holds the last calls, oldest first."""

    def __init__(self, webhooks: Iterable[Webhook], context: ssl.SSLContext, host: str, port: int = 0) -> None:
        given = [*webhooks]
        check_names(given)
        self.webhooks = {webhook.path: webhook for webhook in given}
        self.host, self.port = host, port
        self.ready = True
        self.calls: deque[Call] = deque(maxlen=REMEMBERED)
        self.last: tuple[Any, Json] = ({}, {})
        """The last AdmissionReview that came, and the one that went back. (Questions about tokens are not kept.)"""
        self.probed: set[str] = set()
        """The probes that have reached this server; see k8sext.admission.registration."""
        self._context = context
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._former: set[object] = set()
        """Connections that were made under an earlier certificate."""

    async def start(self) -> None:
        """Listen; from the second time on, on the same port. Raises OSError when the port is taken."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._readiness),
                web.post("/probe/{probe}", self._probe),
                web.post("/{kind}/{name}", self._review),
            ]
        )
        # A caller that hangs up has stopped waiting: so does the function.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=2)
        await self._runner.setup()
        assert self._runner.server is not None
        self._listening = await asyncio.get_running_loop().create_server(
            self._runner.server,
            self.host,
            self.port,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_LIMIT,
            backlog=512,
        )
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, let calls under way end, and close every connection."""
        if self._listening:
            self._listening.close()
        if self._runner:
            await self._runner.cleanup()
        self._listening = self._runner = None

    @property
    def listening(self) -> bool:
        """Whether it can be reached."""
        return self._listening is not None

    def rotate(self, pair: Pair) -> None:
        """Show another certificate from now on. Open connections end with their next answer, so no call is lost."""
        show(self._context, pair)
        if self._runner and self._runner.server:
            self._former = set(self._runner.server.connections)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self.ready else web.Response(text="not ready\n", status=503)

    async def _probe(self, request: web.Request) -> web.Response:
        """Answer the one review that only wants to know whether reviews arrive at all."""
        uid = (await request.json())["request"]["uid"]
        self.probed.add(request.match_info["probe"])
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        return web.json_response(review | {"response": {"uid": uid, "allowed": True}})

    async def _review(self, request: web.Request) -> web.Response:
        webhook = self.webhooks.get(request.path)
        if webhook is None:
            return _refusal(404, f"no webhook answers at {request.path}; there are {', '.join(self.webhooks)}")
        began, clock, call = time.time(), time.perf_counter(), str(uuid.uuid4())

        def note(outcome: str, detail: str, subject: str = "", user: str = "", call: str = call) -> None:
            took = time.perf_counter() - clock
            self.calls.append(Call(webhook.name, webhook.kind, began, took, outcome, subject, user, detail, call))

        try:
            found = await self._answer(request, webhook, call)
            body = json.dumps(found.body).encode()
        except _Refused as refused:
            note(refused.outcome, refused.text)
            return _refusal(refused.status, refused.text)
        except (Exception, SystemExit) as error:  # SystemExit, too, must not end the server
            log.exception("webhook %s crashed (call %s)", webhook.name, call)
            note("crashed", f"{type(error).__name__}: {error}")
            return _refusal(500, f"the webhook {webhook.name} crashed; its log tells more under call {call}")
        except asyncio.CancelledError:
            note("timed out", "the caller no longer waited")
            raise
        note(found.outcome, found.detail, found.subject, found.user, found.call)
        response = web.Response(body=body, content_type="application/json")
        if request.protocol in self._former:
            self._former.discard(request.protocol)
            response.force_close()
        return response

    async def _answer(self, request: web.Request, webhook: Webhook, call: str) -> Answer:
        review = await self._read(request, webhook)
        limit = asyncio.timeout(webhook.timeout + GRACE)
        try:
            async with limit:
                found = await answer(webhook, review, call)
        except BadReview as error:
            raise _Refused(400, str(error)) from error
        except TimeoutError:
            if not limit.expired():  # then it is the function's own
                raise
            sentence = f"the webhook {webhook.name} did not answer within {webhook.timeout} s"
            raise _Refused(504, sentence, "timed out") from None
        if isinstance(webhook, AdmissionWebhook):
            self.last = review, found.body
        return found

    async def _read(self, request: web.Request, webhook: Webhook) -> object:
        if not isinstance(webhook, AdmissionWebhook) and not _certified(request):
            raise _Refused(
                403, "this webhook answers the API server only: show the client certificate from its kubeconfig"
            )
        if request.content_type != "application/json":
            raise _Refused(415, f"send application/json, not {request.content_type[:60]}")
        try:
            async with asyncio.timeout(READ_LIMIT):
                return json.loads(await request.read())
        except TimeoutError:
            raise _Refused(408, f"the body did not arrive within {READ_LIMIT:.0f} seconds") from None
        except web.HTTPRequestEntityTooLarge:
            raise _Refused(413, f"the body is larger than {LARGEST_BODY >> 20} MiB") from None
        except (ValueError, RecursionError) as error:
            raise _Refused(400, f"the body is not JSON: {error}") from None


class _Refused(Exception):
    def __init__(self, status: int, text: str, outcome: str = "refused") -> None:
        super().__init__(text)
        self.status, self.text, self.outcome = status, text, outcome


def _refusal(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")


def _certified(request: web.Request) -> bool:
    """Whether the caller showed a certificate; the TLS layer has checked already that it is one of ours."""
    return bool(request.transport and request.transport.get_extra_info("peercert"))
