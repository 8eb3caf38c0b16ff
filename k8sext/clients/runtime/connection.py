"""A connection to one API server, shared by all clients that are made from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from k8sext.kube import connect as kube_connect
from k8sext.kube.background import Background
from k8sext.kube.objects import Json
from k8sext.kube.request import Body, Query, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


class Connection:
    """An open client and the loop it lives in. Close it, or use it as a context manager."""

    def __init__(self, client: ApiClient, background: Background) -> None:
        self.client = client
        self.background = background

    def request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        query: Query | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Send one request and return the decoded answer. Raises ApiError or Unreachable, see k8sext.kube.request."""
        return self.background.call(request(self.client, method, path, body, query=query, content_type=content_type))

    def close(self) -> None:
        """Close the client and end its thread."""
        if self.background.running:
            self.background.call(self.client.close())
            self.background.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(kubeconfig: Path | str | None = None, context: str | None = None) -> Connection:
    """Open a connection to a context (default: the current one) of one kubeconfig file (default: $KUBECONFIG or
    ~/.kube/config).

    Raises ConnectError when there is no such file or context.
    """
    path = Path(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    background = Background("k8sext client")
    try:
        return Connection(background.call(kube_connect.from_kubeconfig(path, context)), background)
    except BaseException:
        background.stop()
        raise
