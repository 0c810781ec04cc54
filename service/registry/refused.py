"""Why a version from the registry is not served."""

from __future__ import annotations


class RefusedVersionError(Exception):
    """A version cannot be served.

    Args:
        reason: what was wrong with it, and what would be right.
        final: whether it is the version itself: trying again would change nothing.
    """

    def __init__(self, reason: str, *, final: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
