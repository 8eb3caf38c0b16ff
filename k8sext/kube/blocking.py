"""Requests that need no event loop and no thread: for what must work when the loop hangs, or when the interpreter ends.

At its end Python runs what is registered with `atexit`, but starts no thread any more, and an asynchronous client needs
one to look up a host's name. Here a request is sent and its answer read in the thread that asks.
"""

# kubernetes.aio is typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.objects import Json
from k8sext.kube.request import Body, Query, Unreachable, error_of

if TYPE_CHECKING:
    from urllib3 import PoolManager

TIMEOUT = 5.0


class BlockingClient:
    """Requests to one API server, one after the other over one connection. Made by `blocking_client`."""

    def __init__(self, pool: PoolManager, server: str, headers: dict[str, str]) -> None:
        self._pool, self._server, self._headers = pool, server, headers

    def request(
        self, method: str, path: str, body: Body | None = None, *, query: Query | None = None, timeout: float = TIMEOUT
    ) -> Json:
        """Send one request and return the decoded answer; like `k8sext.kube.request.request`, also in what it raises.

        timeout is in seconds, for the connection and again for the answer.
        """
        from urllib3.exceptions import HTTPError

        url = f"{self._server}{path}{'?' + urlencode(query) if query else ''}"
        text = None if body is None else json.dumps(body)
        try:
            answer = self._pool.request(method, url, body=text, headers=self._headers, timeout=timeout)
            if answer.status >= 300:
                raise error_of(answer.status, answer.data)
            return json.loads(answer.data)
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{method} {path}: {error}") from error
        except ValueError as error:
            raise Unreachable(f"{method} {path}: the answer is not JSON") from error


async def blocking_client(path: Path | str, context: str | None = None) -> BlockingClient:
    """A client for one context of one kubeconfig file, with the credentials as they are now. Raises ConnectError.

    Only this is asynchronous: a kubeconfig may name a program that hands out the credentials.
    """
    from urllib3 import PoolManager, ProxyManager

    client = await from_kubeconfig(path, context)
    configuration = client.configuration
    options: dict[str, Any] = {"ssl_context": client.rest_client.ssl_context, "retries": False}
    pool = ProxyManager(configuration.proxy, **options) if configuration.proxy else PoolManager(**options)
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token := await configuration.get_api_key_with_prefix("BearerToken", alias="authorization"):
        headers["Authorization"] = token
    await client.close()
    return BlockingClient(pool, configuration.host, headers)
