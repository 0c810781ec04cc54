"""The bell between the gateway and `lupine sync watch`: a file that is touched.

Whoever rings says that it is worth to look now, and nothing else: what there is to do the registry
says. A bell that was not heard costs one pause between two polls.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

_FILE = "bell"
_LISTEN_SECONDS = 0.1


class Bell:
    """A bell in the sync's folder.

    Args:
        folder: of the sync; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._heard = self._rung()

    def ring(self) -> None:
        """Have the sync look at the registry now.

        Raises:
            OSError: the folder cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._path.touch(mode=0o600)

    def wait(self, seconds: float, ended: threading.Event) -> bool:
        """Wait for the bell, the end, or some seconds; whether it rang since the last one heard."""
        until = time.monotonic() + seconds
        while True:
            rung = self._rung()
            if rung != self._heard:
                self._heard = rung
                return True
            left = until - time.monotonic()
            if left <= 0 or ended.wait(min(left, _LISTEN_SECONDS)):
                return False

    def _rung(self) -> int:
        """When it was rung last, in nanoseconds; 0: never."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0
