"""Initializers and the proxy from a notebook or a script: in the background, until they are stopped."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from k8sext import files
from k8sext.admission.initializers.controller import Initializer, run
from k8sext.admission.initializers.proxy import LONGEST_WAIT, Proxy
from k8sext.admission.tls import server_context
from k8sext.kube import certificates as x509
from k8sext.kube.background import BackgroundTask
from k8sext.kube.connect import ConnectError, from_kubeconfig

_started: list[Callable[[], None]] = []


def remember(stop: Callable[[], None]) -> None:
    """Let `stop_all` call this function, which may be called more than once."""
    _started.append(stop)


def stop_all() -> None:
    """Stop everything that this process has started, last first: what cells of an interrupted notebook left running."""
    while _started:
        _started.pop()()


def start(
    *initializers: Initializer, namespaces: Sequence[str] = (), kubeconfig: Path | str | None = None
) -> BackgroundTask:
    """Initialize in these namespaces (default: in all). kubeconfig names the cluster (default: $KUBECONFIG). Stop it
    with stop().

    Raises ConnectError, or ApiError for a resource that does not exist.
    """
    file = kubeconfig or os.environ.get("KUBECONFIG")
    if not file:
        raise ConnectError("name a kubeconfig, or set KUBECONFIG")
    for found in initializers:
        if not isinstance(found, Initializer):
            raise TypeError(f"{found!r} is no initializer: decorate it with @initializer first")

    async def main(ready: Callable[[], None]) -> None:
        client = await from_kubeconfig(file)
        try:
            await run(client, initializers, namespaces, ready)
        finally:
            await client.close()

    running = BackgroundTask(main, f"initializing: {', '.join(found.name for found in initializers)}")
    remember(running.stop)
    return running


class RunningProxy:
    """A proxy that listens. Made by `start_proxy`."""

    def __init__(self, background: BackgroundTask, address: str, authority: str) -> None:
        self._background, self.address, self._authority = background, address, authority
        self._folder = tempfile.TemporaryDirectory(prefix="k8sext-proxy-")

    def kubeconfig(self, token: str = "") -> Path:
        """A file with which kubectl goes through the proxy, as whoever the token is for. It is removed by stop()."""
        certificate = base64.b64encode(self._authority.encode()).decode()
        cluster = {"server": self.address, "certificate-authority-data": certificate}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token} if token else {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "user"}}],
            "current-context": "proxy",
        }
        folder = Path(self._folder.name)
        file = folder / f"{len(list(folder.iterdir()))}.kubeconfig"
        files.replace(file, json.dumps(content), mode=0o600)
        return file

    def stop(self) -> None:
        """Stop listening. A second time it does nothing."""
        self._background.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return repr(self._background)


def start_proxy(
    kubeconfig: Path | str | None = None, longest_wait: float = LONGEST_WAIT, host: str = "127.0.0.1", port: int = 0
) -> RunningProxy:
    """Start the proxy before the API server of a kubeconfig (default: $KUBECONFIG), of which it takes address and
    authority only.

    longest_wait is for how many seconds a POST waits. Raises ConnectError, or OSError when the port is taken.
    """
    file = kubeconfig or os.environ.get("KUBECONFIG")
    if not file:
        raise ConnectError("name a kubeconfig, or set KUBECONFIG")
    authority = x509.authority("k8sext-proxy")
    context = server_context(x509.issue(authority, "proxy", hosts=[host]))
    addresses = []

    async def main(ready: Callable[[], None]) -> None:
        client = await from_kubeconfig(file)
        server, ca = client.configuration.host, client.configuration.ssl_ca_cert
        await client.close()
        proxy = Proxy(server, ssl.create_default_context(cafile=ca), longest_wait)
        try:
            addresses.append(f"https://{host}:{await proxy.start(context, host, port)}")
            ready()
            await asyncio.Event().wait()
        finally:
            await proxy.stop()

    background = BackgroundTask(main, "proxy")
    running = RunningProxy(background, addresses[0], authority.certificate)
    remember(running.stop)
    return running
