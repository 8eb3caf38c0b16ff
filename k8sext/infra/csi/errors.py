"""How a caller of the driver is told of errors: a gRPC status code and one sentence. The codes are those the CSI specification asks for."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import StatusCode
from grpc.aio import ServicerContext

from k8sext.infra.refusals import Refusal

log = logging.getLogger(__name__)


class TellRefusals(grpc.aio.ServerInterceptor):
    """Answers a Refusal with its status code, trouble with the disk with a fitting one.

    Work that has begun goes on to its end although the caller has given up: the retry that follows waits for it and
    finds it done, instead of two of them at once in the same folder.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method.rpartition("/")[2]

        async def answer(request: Any, context: ServicerContext[Any, Any]) -> Any:
            try:
                return await asyncio.shield(asyncio.ensure_future(handler.unary_unary(request, context)))
            except Refusal as refusal:
                log.info("%s: %s", method, refusal)
                await context.abort(refusal.code, str(refusal))
            except OSError as problem:
                log.exception("%s failed", method)
                full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
                code = StatusCode.RESOURCE_EXHAUSTED if full else StatusCode.INTERNAL
                await context.abort(code, f"the machine under this driver said: {problem}")

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)
