"""Credentials that a program gives, as kubeconfigs of cloud providers name one (`users[].user.exec`).

They are asked for again when they have expired, and when the server answers 401, as client-go does
(plugin/pkg/client/auth/exec). Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
#client-go-credential-plugins.
"""

# kubernetes.aio is typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, Configuration

TOKEN = "BearerToken"
_known: WeakKeyDictionary[Configuration, ExecCredentials] = WeakKeyDictionary()


class ExecCredentials:
    """The program of one client; `loader` is kubernetes.aio's, which runs it."""

    def __init__(self, loader: Any) -> None:
        self._loader, self._lock = loader, asyncio.Lock()

    async def refresh(self, configuration: Configuration) -> None:
        """Before a request: fetch a new token if the last one has expired. One without an expiry stays until a 401."""
        if hasattr(self._loader, "exec_plugin_expiry"):
            async with self._lock:
                await self._load(configuration)

    async def renew(self, configuration: Configuration, refused: str) -> bool:
        """After a 401 with the token `refused`: return whether there is another one now."""
        async with self._lock:
            if configuration.api_key.get(TOKEN) == refused:
                vars(self._loader).pop("exec_plugin_expiry", None)  # else the loader holds it for good
                await self._load(configuration)
            return configuration.api_key.get(TOKEN) != refused

    async def _load(self, configuration: Configuration) -> None:
        await self._loader.load_from_exec_plugin()
        if token := getattr(self._loader, "token", None):
            configuration.api_key[TOKEN] = token


def watch_over(configuration: Configuration, loader: Any) -> None:
    """Keep the credentials of a configuration fresh, if a program gives them."""
    if "exec" in loader._user:
        _known[configuration] = credentials = ExecCredentials(loader)
        # typed as None upstream, where nothing sets it
        configuration.refresh_api_key_hook = credentials.refresh  # pyright: ignore[reportAttributeAccessIssue]


async def renewed(client: ApiClient, refused: str) -> bool:
    """Return whether a request that was refused with this token may be sent again with another."""
    configuration: Configuration = client.configuration
    credentials = _known.get(configuration)
    return credentials is not None and await credentials.renew(configuration, refused)
