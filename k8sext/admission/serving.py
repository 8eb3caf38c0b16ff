"""`serve(function, ...)`: webhooks from a notebook or a script, in the background, registered while they run.

The server has a thread and an event loop of its own, so it answers while a cell runs. Leaving the `with` block, `stop()` or the end
of the process takes the registration away; after a kill the next `serve` of this machine does.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import threading
from collections import deque
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

from k8sext.admission.functions import AdmissionWebhook, Webhook
from k8sext.admission.registration import Registration, RegistrationError
from k8sext.admission.server import Call, WebhookServer
from k8sext.admission.tls import server_context
from k8sext.kube import certificates as x509
from k8sext.kube.request import ApiError, Unreachable

log = logging.getLogger(__name__)
T = TypeVar("T")

LIFETIME = datetime.timedelta(hours=24)
"""Of the server's certificate; a new one is shown when two thirds of it are over."""
CALL_LIMIT = 40.0


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
        self._client: Any = None
        self._stopped = False
        self._down = False
        self._renewal: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)
        self._thread.start()
        self._log = _KeptLog(self._thread.ident)
        logging.getLogger("k8sext.admission").addHandler(self._log)

    @property
    def calls(self) -> list[Call]:
        """The calls so far, oldest first."""
        return list(self._server.calls)

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
        """A kubeconfig (YAML) with which the API server reaches a webhook that is named by its flags, and proves who it is."""
        client = x509.issue(self.authority, "kube-apiserver")
        return x509.kubeconfig(webhook.name, self.url(webhook), self.authority, client)

    def rotate(self, lifetime: datetime.timedelta = LIFETIME) -> None:
        """Show a new certificate, good for lifetime from now, and go on serving; a negative one has ended already."""
        self._loop.call_soon_threadsafe(self._server.rotate, self._pair(lifetime))

    def go_down(self) -> None:
        """Stop listening but stay registered, as a server that crashed."""
        self._down = True
        self._run(self._server.stop())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self._run(self._server.start())
        self._down = False

    def restart(self) -> None:
        """Go down and come back: every caller has to make a new connection."""
        self.go_down()
        self.come_back()

    def stop(self) -> None:
        """Take the registration away and end the server. A second time it does nothing."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._run(self._end())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
            self._loop.close()
            logging.getLogger("k8sext.admission").removeHandler(self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"serving {', '.join(webhook.name for webhook in self.webhooks)}" + (
            " (stopped)" if self._stopped else ""
        )

    def _start(self) -> None:
        try:
            self._run(self._begin())
        except BaseException:
            self.stop()
            raise
        # The module atexit comes too late: by then Python has ended the helper threads that the client needs.
        threading._register_atexit(self.stop)  # pyright: ignore[reportAttributeAccessIssue]

    async def _begin(self) -> None:
        await self._server.start()
        self._renewal = asyncio.create_task(self._renew(), name="certificate renewal")
        admitting = [webhook for webhook in self.webhooks if isinstance(webhook, AdmissionWebhook)]
        if not admitting:
            return
        if self._kubeconfig is None:
            raise RegistrationError(
                f"{admitting[0].name} must be registered at an API server: name its kubeconfig, or set KUBECONFIG"
            )
        from k8sext.kube.connect import from_kubeconfig

        self._client = await from_kubeconfig(self._kubeconfig)
        probed = self._server.probed
        registration = Registration(self._client, self.address, self.authority.certificate, probed.__contains__)
        await registration.put(admitting)
        self._registration = registration

    async def _end(self) -> None:
        """First unregister, then stop to answer: the other way round, requests would fail in between."""
        try:
            if self._registration:
                self._server.rotate(self._pair(LIFETIME))
                if self._down:
                    await self._server.start()
                await self._registration.remove()
        except (Unreachable, ApiError, RegistrationError) as error:
            log.warning("the webhooks could not be unregistered: %s", error)
        finally:
            if self._client:
                await self._client.close()
            if self._renewal:
                self._renewal.cancel()
            await self._server.stop()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LIFETIME.total_seconds() * 2 / 3)
            self._server.rotate(self._pair(LIFETIME))

    def _pair(self, lifetime: datetime.timedelta) -> x509.Pair:
        return x509.issue(self.authority, "webhook", hosts=[self._host], lifetime=lifetime)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=CALL_LIMIT)


def serve(*webhooks: Webhook, kubeconfig: Path | str | None = None, host: str | None = None, port: int = 0) -> Serving:
    """Serve these webhooks in the background, and register the validating and mutating ones at an API server.

    kubeconfig names the API server (default: $KUBECONFIG). host is the address of this process that it reaches (default:
    $K8SEXT_CALLBACK_HOST, else 127.0.0.1), port is a free one unless given. When it returns, the API server calls the webhooks.
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
