"""A connection to one API server, shared by all clients that are made from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from k8sext.clients.runtime.portal import Portal
from k8sext.kube import connect as kube_connect
from k8sext.kube.request import Json, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


class Connection:
    """An open client and the thread it lives in. Close it, or use it as a context manager."""

    def __init__(self, client: ApiClient, portal: Portal) -> None:
        self.client = client
        self.portal = portal

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Send one request and return the decoded answer. Raises ApiError or Unreachable, see k8sext.kube.request."""
        return self.portal.call(request(self.client, method, path, body, query=query, content_type=content_type))

    def close(self) -> None:
        """Close the client and end its thread."""
        self.portal.call(self.client.close())
        self.portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(kubeconfig: Path | str | None = None, context: str | None = None) -> Connection:
    """Open a connection to a context (default: the current one) of one kubeconfig file (default: $KUBECONFIG or ~/.kube/config).

    Raises ConnectError when there is no such file or context.
    """
    path = Path(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    portal = Portal()
    try:
        return Connection(portal.call(kube_connect.from_kubeconfig(path, context)), portal)
    except BaseException:
        portal.close()
        raise
