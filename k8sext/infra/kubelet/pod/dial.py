"""Dial: how probes and hooks get a connection to a pod.

Where a pod's address leads, the address plan says (k8sext.infra.addresses). Every other host is reached as it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from k8sext.infra import connect_proxy
from k8sext.infra.addresses import has_own_network, is_pod_address, loopback_address


class Dialer:
    """Makes connections to the pods of this machine."""

    def __init__(self, loopback: str, proxy: Path) -> None:
        """`loopback`: 127.X, which stands for the pod network; `proxy`: the socket of the proxy to pods with a
        network of their own."""
        self._loopback, self._proxy = loopback, proxy

    async def dial(self, host: str, port: int) -> socket.socket:
        """Return a connection to a port of a pod, or of any host. Raises OSError."""
        if has_own_network(host):
            return await connect_proxy.dial(self._proxy, host, port)
        return await _connect(loopback_address(host, self._loopback) if is_pod_address(host) else host, port)


class PodConnector(aiohttp.BaseConnector):
    """Lets aiohttp ask pods. Certificates are not checked: probes are of health, not of identity."""

    def __init__(self, dialer: Dialer) -> None:
        super().__init__(force_close=True)
        self._dialer = dialer
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        connection = await self._dialer.dial(req.url.host, req.url.port)
        tls = {"ssl": self._tls, "server_hostname": req.url.host} if req.url.scheme == "https" else {}
        _, protocol = await asyncio.get_running_loop().create_connection(self._factory, sock=connection, **tls)
        return protocol


def reason(error: Exception) -> str:
    """Return why there was no connection, without the addresses that only this machine knows."""
    if not isinstance(error, OSError) or isinstance(error, socket.gaierror) or not error.errno:
        return getattr(error, "strerror", None) or str(error)
    return os.strerror(error.errno)


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    problem = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            problem = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise problem
