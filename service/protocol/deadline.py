"""The ways in which a client says how long it will wait."""

from __future__ import annotations

import math

from service.errors import InvalidRequestError

HEADER = "X-Request-Timeout-Ms"
MAX_SECONDS = 86_400.0
"""A longer wait is as good as none."""


def from_header(given: str | None) -> float | None:
    """Seconds out of the header `X-Request-Timeout-Ms`; None where it is absent.

    Raises:
        InvalidRequestError: it is no number above 0, or over a day.
    """
    if given is None:
        return None
    try:
        millis = float(given)
    except ValueError:
        millis = math.nan
    if not 0 < millis <= MAX_SECONDS * 1000:
        raise InvalidRequestError(
            f"{HEADER} is {given!r:.60}: milliseconds above 0, "
            f"at most {MAX_SECONDS * 1000:.0f}, are expected"
        )
    return millis / 1000


def earliest(*seconds: float | None, now: float) -> float:
    """The deadline that the waits set, on the clock of `now`; infinite where none is given."""
    given = [wait for wait in seconds if wait is not None]
    return now + min(*given, MAX_SECONDS) if given else math.inf
