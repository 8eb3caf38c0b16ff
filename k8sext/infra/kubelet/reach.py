"""How probes and hooks reach a pod.

A pod of handler `process` listens on the loopback address that stands for its own: 127.X.n.m for 10.244.n.m. A pod of
handler `oci` has a network of its own, behind a door: a unix socket that takes `CONNECT 10.244.n.m:port` (see
k8sext.infra.cri.oci.room); its address is in the upper half of the node's. Every other host is reached as it is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

_POD = re.compile(r"10\.244\.(\d{1,3})\.(\d{1,3})")
_FIRST_WITH_OWN_NETWORK = 128


class Reach:
    """The ways to the pods of this machine."""

    def __init__(self, loopback: str, door: Path) -> None:
        """`loopback`: the first two numbers of the addresses that stand for 10.244; `door`: the socket of the pods' own network."""
        self._loopback, self._door = loopback, door

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection to a port of a pod, or of any host. Raises OSError."""
        pod = _POD.fullmatch(host)
        if pod is None:
            return await _connect(host, port)
        if int(pod[2]) < _FIRST_WITH_OWN_NETWORK:
            return await _connect(f"{self._loopback}.{pod[1]}.{pod[2]}", port)
        return await self._knock(f"{host}:{port}")

    async def _knock(self, target: str) -> socket.socket:
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(self._door))
            await loop.sock_sendall(connection, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the pod
                if not (byte := await loop.sock_recv(connection, 1)):
                    raise ConnectionError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
                answer += byte
            if b" 200 " not in answer:
                raise ConnectionError((await loop.sock_recv(connection, 500)).decode(errors="replace"))
        except FileNotFoundError:
            connection.close()
            raise ConnectionError("the pods' own network is not there: its door is closed") from None
        except BaseException:
            connection.close()
            raise
        return connection


class PodConnector(aiohttp.BaseConnector):
    """Lets aiohttp ask pods. Certificates are not checked: probes are of health, not of identity."""

    def __init__(self, reach: Reach) -> None:
        super().__init__(force_close=True)
        self._reach = reach
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        connection = await self._reach.connect(req.url.host, req.url.port)
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
