"""Two small servers beside a controller: probes for the kubelet, figures for Prometheus; and where and as whom it
runs."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

LONGEST_HEAD = 1 << 20
"""Bytes of a request's first line, or of a header: what servers in Go take (http.DefaultMaxHeaderBytes). A command for
exec stands there."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def bind_address() -> str:
    """Return the address servers of this process listen on: the pod's own in a pod, else only this machine's loopback.

    The embedded cluster gives K8SEXT_BIND_ADDRESS; elsewhere the manifest passes the pod's address as POD_IP.
    """
    return os.environ.get("K8SEXT_BIND_ADDRESS") or os.environ.get("POD_IP") or "127.0.0.1"


def host_name() -> str:
    """Return the pod's name in a pod, else this machine's.

    A runtime tells it in HOSTNAME as well: where containers cannot have a host name of their own, the system call gives
    the machine's.
    """
    return os.environ.get("HOSTNAME") or socket.gethostname()


@asynccontextmanager
async def serving(port: int, *, ready: Callable[[], bool], metrics: Callable[[], bytes]) -> AsyncGenerator[int, None]:
    """Answer /healthz (this loop turns), /readyz (`ready()` says so) and /metrics for the length of a block.

    Yields the port, which is a free one if `port` is 0. Raises OSError when it is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if ready() else web.Response(status=503, text="not ready: no first list yet")

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", figures)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, bind_address(), port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
