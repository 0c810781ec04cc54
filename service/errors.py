"""The one tree of failures. It knows nothing of wires: `frontends.status` maps it to both.

Every message says what was wrong, with names and numbers, and where it can what would be right.
"""

from __future__ import annotations


class LupineError(Exception):
    """A failure that has a meaning for the caller.

    Args:
        message: what was wrong, with names and numbers.
        retry_after: seconds until the same request may succeed; None: retrying is futile.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class InvalidRequestError(LupineError):
    """Malformed bytes, or a wrong shape, datatype, name or size."""


class UnauthenticatedError(LupineError):
    """No credential, or one that does not hold."""


class ForbiddenError(LupineError):
    """The peer is known and may not do this."""


class NotFoundError(LupineError):
    """No such model, version, alias or path."""


class TooLargeError(LupineError):
    """A body over the limit."""


class ShedError(LupineError):
    """Refused to protect the others: it would have been served but for the load.

    Args:
        reason: a bounded label for the metric, one of `late`, `queue_full`, `permits`, `share`,
            `memory`, `streams`.
    """

    def __init__(self, message: str, *, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.reason = reason


class EngineError(LupineError):
    """The engine failed on this input; another input may well succeed."""


class UnavailableError(LupineError):
    """The engine is away, or this gateway is draining."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)


class DeadlineError(LupineError):
    """The deadline passed before the answer was there."""


class UnsupportedError(LupineError):
    """The protocol knows it, this gateway does not offer it."""


class ConfigurationError(LupineError):
    """The operator's settings, model repository or host cannot work as they are."""
