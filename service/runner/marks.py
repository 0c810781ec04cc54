"""Marks in the run folder: what supervisor and workers tell each other once in a gateway's life.

The supervisor alone knows what a signal meant. A worker that gets one cannot tell whether it alone
is to go, nor whether a second one is the operator's impatience or the first one passed on.
"""

from __future__ import annotations

from pathlib import Path

ANNOUNCED = "announced"
"""All workers have been ready."""
FAILED = "failed"
"""It cannot start. The mark holds the reason."""
STOPPING = "stopping"
"""The whole gateway ends, not one worker."""
HURRIED = "hurried"
"""Somebody asked a second time: what is in flight is not waited for any more."""


def leave(run_dir: Path, name: str, text: str = "") -> bool:
    """Leave a mark. Returns whether it is the first of its name; the first one stays."""
    try:
        with (run_dir / name).open("x") as mark:
            mark.write(text)
    except OSError:  # it is there; or the folder is gone, and with it who would read this
        return False
    return True


def there(run_dir: Path, name: str) -> bool:
    """Whether the mark is there."""
    return (run_dir / name).exists()
