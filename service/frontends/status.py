"""The table from failures to the statuses of the wire. A test proves it total."""

from __future__ import annotations

import math

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


def retry_after(error: LupineError) -> dict[str, str]:
    """The header `Retry-After` in whole seconds, where trying again makes sense; else none."""
    if error.retry_after is None:
        return {}
    return {"retry-after": str(max(1, math.ceil(error.retry_after)))}
