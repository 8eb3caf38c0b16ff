"""A gRPC probe: ask a pod's server by the gRPC health checking protocol.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md, and pkg/probe/grpc/grpc.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator

import grpc
import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from k8sext.infra import connect_proxy

CHECK = "/grpc.health.v1.Health/Check"


async def is_serving(connection: socket.socket, service: str, timeout: float) -> tuple[bool, str]:
    """Ask at a connection to the pod, which is closed afterwards, within `timeout` seconds.

    Returns whether the service is SERVING, and what was said, in the kubelet's words.
    """
    async with _address_of(connection) as address, grpc.aio.insecure_channel(address) as channel:
        try:
            question = HealthCheckRequest(service=service)
            check = channel.unary_unary(CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)
            answer = await check(question, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return False, _why(error, timeout)
    if answer.status == HealthCheckResponse.SERVING:
        return True, "service healthy"
    name = HealthCheckResponse.ServingStatus.Name(answer.status)
    return False, f'service unhealthy (responded with "{name}")'


def _why(error: grpc.aio.AioRpcError, timeout: float) -> str:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            protocol = "the grpc health protocol (grpc.health.v1.Health)"
            return f"error: this server does not implement {protocol}: {error.details()}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"timeout: health rpc did not complete within {timeout:g}s"
    return f"error: health rpc probe failed: {error.code().name}: {error.details()}"


@contextlib.asynccontextmanager
async def _address_of(connection: socket.socket) -> AsyncIterator[str]:
    """An address for gRPC, which takes no connection that is open already: a socket that leads to it, once."""
    opened: list[connect_proxy.Connection] = []

    async def once() -> connect_proxy.Connection:
        opened.append(await asyncio.open_connection(sock=connection))
        return opened[0]

    name = f"k8sext-probe-{uuid.uuid4()}"
    server = await asyncio.start_unix_server(connect_proxy.forward(once), f"\0{name}")
    try:
        yield f"unix-abstract:{name}"
    finally:
        server.close()
        for _, writer in opened:
            writer.close()
        if not opened:
            connection.close()
