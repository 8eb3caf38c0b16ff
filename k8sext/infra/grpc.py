"""gRPC at unix sockets, as CRI and CSI are spoken: servers, options, and how errors are told.

A method raises a StatusError, and its caller reads the gRPC status code and one sentence. Source of the codes:
https://grpc.io/docs/guides/status-codes/, and what the specifications of CRI and CSI ask for.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc import StatusCode

LONGEST_SOCKET_PATH = 107
"""Bytes that fit into the kernel's sockaddr_un, less the zero at the end (unix(7))."""
SERVER_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20))
# An authority derived from the socket's path would be refused by servers written in Go.
CLIENT_OPTIONS = (("grpc.default_authority", "localhost"), ("grpc.max_reconnect_backoff_ms", 1000))
Response = TypeVar("Response", bound=Message)
log = logging.getLogger(__name__)


class StatusError(Exception):
    """A request that is not carried out: its caller gets the gRPC status `code` with the message."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid_argument(message: str) -> StatusError:
    """The request makes no sense or asks for what this server cannot do."""
    return StatusError(StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """What the request names is not here."""
    return StatusError(StatusCode.NOT_FOUND, message)


def failed_precondition(message: str) -> StatusError:
    """The request is well formed but not possible in the present state."""
    return StatusError(StatusCode.FAILED_PRECONDITION, message)


def check_socket_path(path: Path, options: str) -> None:
    """Raise ValueError for a path that is too long for a socket; `options` are those of the command line that choose
    it."""
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"the socket path {path} is longer than {LONGEST_SOCKET_PATH} bytes: choose a shorter {options}"
        )


async def call(
    channel: grpc.aio.Channel, method: str, request: Message, response: type[Response], timeout: float
) -> Response:
    """Send one message and return the answer; `method` is as on the wire, "/runtime.v1.RuntimeService/Version".

    Raises grpc.aio.AioRpcError, also after `timeout` seconds.
    """
    method_of_channel = channel.unary_unary(
        method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
    )
    return await method_of_channel(request, timeout=timeout)


def make_server(name: str, *, finish_calls: bool = False) -> grpc.aio.Server:
    """Return a server that tells errors as StatusErrors say, without services and ports.

    `name` is what it calls itself ("driver"). With `finish_calls`, work that has begun goes on to its end although the
    caller has given up: the retry that follows waits for it and finds it done, instead of two of them at once in the
    same folder.
    """
    return grpc.aio.server(interceptors=[_TellErrors(name, finish_calls)], options=SERVER_OPTIONS)


class _TellErrors(grpc.aio.ServerInterceptor):
    """Answers a StatusError raised in any method with its code, trouble with the disk with a fitting one.

    Anything else is a bug: gRPC logs it, and answers UNKNOWN.
    """

    def __init__(self, name: str, finish_calls: bool) -> None:
        self._name, self._finish_calls = name, finish_calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler; streams pass through."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        method = handler_call_details.method.rpartition("/")[2]

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                call = handler.unary_unary(request, context)
                return await (asyncio.shield(asyncio.ensure_future(call)) if self._finish_calls else call)
            except StatusError as error:
                log.info("%s: %s", method, error)
                await context.abort(error.code, str(error))
            except NotImplementedError:
                await context.abort(StatusCode.UNIMPLEMENTED, f"this {self._name} leaves out {method}")
            except OSError as problem:
                log.exception("%s failed", method)
                full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
                code = StatusCode.RESOURCE_EXHAUSTED if full else StatusCode.INTERNAL
                await context.abort(code, f"the machine under this {self._name} said: {problem}")

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)
