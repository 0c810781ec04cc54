"""Ends processes that were started here, each by its own pid."""

from __future__ import annotations

import subprocess


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process to end, and end it if it has not within so many seconds."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
