"""`serve(function, ...)`: webhooks from a notebook or a script, in the background, registered while they run.

The server has a thread and an event loop of its own, so it answers while a cell runs. Leaving the `with` block,
`stop()` or the end of the process takes the registration away, by requests that need neither: a function that hangs
does not keep it in place. After a kill the next `serve` of this machine does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from k8sext.admission.functions import AdmissionWebhook, Kind, Webhook
from k8sext.admission.registration import Registration, RegistrationError
from k8sext.admission.server import Call, WebhookServer
from k8sext.admission.tls import server_context
from k8sext.kube import certificates as x509
from k8sext.kube.background import Background, at_exit, not_at_exit
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Unreachable

log = logging.getLogger(__name__)

LIFETIME = datetime.timedelta(hours=24)
"""Of the server's certificate; a new one is shown when two thirds of it are over."""
START_LIMIT, END_LIMIT = 30.0, 5.0
SETTLE_LIMIT = 3.0
"""Seconds that the API server has, once all is unregistered, to learn of it; meanwhile it may still call."""


class _KeptLog(logging.Handler):
    """Keeps what one thread logs. A notebook shows what a thread prints below whatever cell is running just then."""

    def __init__(self, thread: int | None) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.texts: deque[str] = deque(maxlen=1000)
        self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(self.format(record))


class Serving:
    """Webhooks that are being served. Made by `serve`."""

    def __init__(self, webhooks: Iterable[Webhook], kubeconfig: Path | None, host: str, port: int) -> None:
        self.webhooks = tuple(webhooks)
        self.authority = x509.authority("k8sext-webhooks")
        self._host = host
        self._context = server_context(self._pair(LIFETIME), clients=self.authority.certificate)
        self._server = WebhookServer(self.webhooks, self._context, host, port)
        self._kubeconfig = kubeconfig
        self._registration: Registration | None = None
        self._background = Background("webhooks")
        self._log = _KeptLog(self._background.do(threading.get_ident))
        logging.getLogger("k8sext.admission").addHandler(self._log)

    @property
    def calls(self) -> list[Call]:
        """The calls so far, oldest first."""
        return list(self._server.calls)

    @property
    def last(self) -> tuple[Any, Json]:
        """The last AdmissionReview that came, and the one that went back, as they were on the wire."""
        return self._server.last

    @property
    def log(self) -> str:
        """What the server logged so far: the traceback of each crash, under the number that the client was told."""
        return "\n".join(self._log.texts)

    @property
    def address(self) -> str:
        """Where the server listens, as https://127.0.0.1:41234."""
        return f"https://{self._host}:{self._server.port}"

    def url(self, webhook: Webhook) -> str:
        """Where one webhook answers."""
        return self.address + webhook.path

    def kubeconfig(self, webhook: Webhook) -> str:
        """A kubeconfig (YAML) with which the API server reaches a webhook named by its flags, and proves who it is."""
        client = x509.issue(self.authority, "kube-apiserver")
        return x509.kubeconfig(webhook.name, self.url(webhook), self.authority, client)

    def rotate(self, lifetime: datetime.timedelta = LIFETIME) -> None:
        """Show a new certificate, good for lifetime from now, and go on serving; a negative one has ended already."""
        self._background.do(lambda: self._server.rotate(self._pair(lifetime)))

    def go_down(self) -> None:
        """Stop listening but stay registered, as a server that crashed."""
        self._background.call(self._server.stop())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self._background.call(self._server.start())

    def restart(self) -> None:
        """Go down and come back: every caller has to make a new connection."""
        self.go_down()
        self.come_back()

    def stop(self) -> None:
        """Take the registration away at once, then end the server. If the API server did not answer, call it again."""
        kinds: set[Kind] = set()
        try:
            kinds = self._registration.remove() if self._registration else kinds
            not_at_exit(self._unregister)
        except (Unreachable, ApiError) as error:
            log.warning("the webhooks could not be unregistered: %s", error)
        if not self._background.running:
            return
        try:
            self._settle(kinds)
            self._background.call(self._server.stop(), END_LIMIT)
            self._background.stop()
        except TimeoutError:
            log.warning("a function holds up the server, which is left to itself")
            self._background.stop(0)
        finally:
            logging.getLogger("k8sext.admission").removeHandler(self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"serving {', '.join(webhook.name for webhook in self.webhooks)}" + (
            "" if self._background.running else " (stopped)"
        )

    def _start(self) -> None:
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        self._background.call(self._server.start())
        self._background.start(self._renew())
        admitting = [webhook for webhook in self.webhooks if isinstance(webhook, AdmissionWebhook)]
        if not admitting:
            return
        if self._kubeconfig is None:
            raise RegistrationError(
                f"{admitting[0].name} must be registered at an API server: name its kubeconfig, or set KUBECONFIG"
            )
        from k8sext.kube.blocking import blocking_client

        client = self._background.call(blocking_client(self._kubeconfig), START_LIMIT)
        probed = self._server.probed
        self._registration = Registration(client, self.address, self.authority.certificate, probed.__contains__)
        at_exit(self._unregister)
        self._registration.put(admitting)

    def _unregister(self) -> None:
        """All that matters when the interpreter ends: the rest goes with it."""
        with contextlib.suppress(Unreachable, ApiError):
            if self._registration:
                self._registration.remove()

    def _settle(self, kinds: set[Kind]) -> None:
        """Answer until the API server knows that it is not to call any more: else requests would fail in between."""
        if self._registration and kinds:
            self._background.call(self._answer(), END_LIMIT)
            with contextlib.suppress(Unreachable, ApiError, RegistrationError):
                self._registration.settle(kinds, SETTLE_LIMIT)

    async def _answer(self) -> None:
        self._server.rotate(self._pair(LIFETIME))
        if not self._server.listening:
            await self._server.start()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LIFETIME.total_seconds() * 2 / 3)
            self._server.rotate(self._pair(LIFETIME))

    def _pair(self, lifetime: datetime.timedelta) -> x509.Pair:
        return x509.issue(self.authority, "webhook", hosts=[self._host], lifetime=lifetime)


def serve(*webhooks: Webhook, kubeconfig: Path | str | None = None, host: str | None = None, port: int = 0) -> Serving:
    """Serve these webhooks in the background, and register the validating and mutating ones at an API server.

    kubeconfig names the API server (default: $KUBECONFIG). host is the address of this process that it reaches
    (default:
    $K8SEXT_CALLBACK_HOST, else 127.0.0.1), port is a free one unless given. When it returns, the API server calls them.
    Raises RegistrationError, or OSError when the port is taken.
    """
    for webhook in webhooks:
        if not isinstance(webhook, Webhook):
            raise TypeError(f"{webhook!r} is no webhook: decorate it with @validating, @mutating, ... first")
    file = kubeconfig or os.environ.get("KUBECONFIG")
    host = host or os.environ.get("K8SEXT_CALLBACK_HOST") or "127.0.0.1"
    serving = Serving(webhooks, Path(file) if file else None, host, port)
    serving._start()
    return serving
