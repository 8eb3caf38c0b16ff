"""Errors that a gRPC server of ours tells its caller: a status code and one sentence."""

from __future__ import annotations

from grpc import StatusCode


class Refusal(Exception):
    """A request that is not carried out; becomes the gRPC status `code` with the message."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> Refusal:
    """The request makes no sense or asks for what this server cannot do."""
    return Refusal(StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refusal:
    """What the request names is not here."""
    return Refusal(StatusCode.NOT_FOUND, message)


def precondition(message: str) -> Refusal:
    """The request is well formed but not possible in the present state."""
    return Refusal(StatusCode.FAILED_PRECONDITION, message)
