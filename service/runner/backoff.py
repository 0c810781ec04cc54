"""How long to wait before a process that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from `first` to `most`, all in seconds.

    Args:
        first: after the first failure.
        most: never longer.
        stable: what has been up so long fails for the first time again.
    """

    first: float = 0.2
    most: float = 10.0
    stable: float = 30.0

    def failures(self, before: int, uptime: float) -> int:
        """How many in a row there are now, given how many there were and how long this was up."""
        return 1 if uptime >= self.stable else before + 1

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row; none after none."""
        if failures < 1:
            return 0.0
        doublings = min(failures - 1, 64)  # beyond, a float would overflow; `most` rules long since
        return min(self.first * 2.0**doublings, self.most)
