"""How a caller of the runtime is told of errors: a gRPC status code and one sentence."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import StatusCode
from grpc.aio import ServicerContext

from k8sext.infra.cri.shimclient import ShimError
from k8sext.infra.refusals import Refusal

log = logging.getLogger(__name__)


class TellRefusals(grpc.aio.ServerInterceptor):
    """Answers a Refusal raised in any method with its status code; anything else is a bug: logged, and answered as INTERNAL."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler; streams pass through."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def answer(request: Any, context: ServicerContext[Any, Any]) -> Any:
            try:
                return await handler.unary_unary(request, context)
            except Refusal as refusal:
                log.info("%s: %s", handler_call_details.method, refusal)
                await context.abort(refusal.code, str(refusal))
            except ShimError as problem:
                log.warning("%s: %s", handler_call_details.method, problem)
                await context.abort(StatusCode.UNKNOWN, str(problem))
            except NotImplementedError:
                await context.abort(StatusCode.UNIMPLEMENTED, f"this runtime leaves out {handler_call_details.method}")
            except OSError as problem:
                log.exception("%s failed", handler_call_details.method)
                await context.abort(StatusCode.INTERNAL, f"the machine under this runtime said: {problem}")

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)
