"""The table from failures to the statuses of each wire. A test proves it total."""

from __future__ import annotations

import math

import grpc

from service import errors
from service.errors import LupineError

HTTP: dict[type[LupineError], int] = {
    errors.InvalidRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.TooLargeError: 413,
    errors.ShedError: 429,
    errors.EngineError: 500,
    errors.ConfigurationError: 500,
    errors.UnsupportedError: 501,
    errors.UnavailableError: 503,
    errors.DeadlineError: 504,
}

GRPC: dict[type[LupineError], grpc.StatusCode] = {
    errors.InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ShedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.EngineError: grpc.StatusCode.INTERNAL,
    errors.ConfigurationError: grpc.StatusCode.INTERNAL,
    errors.UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def retry_after(error: LupineError) -> dict[str, str]:
    """The header `Retry-After` in whole seconds, where trying again makes sense; else none."""
    if error.retry_after is None:
        return {}
    return {"retry-after": str(max(1, math.ceil(error.retry_after)))}


def pushback(error: LupineError) -> tuple[tuple[str, str], ...]:
    """The same as a trailer of gRPC, in milliseconds.

    Source: gRFC A6, "Server Pushback": clients with a retry policy wait so long.
    """
    if error.retry_after is None:
        return ()
    return (("grpc-retry-pushback-ms", str(math.ceil(error.retry_after * 1000))),)
