"""h2load over HTTP/1.1: each of so many connections asks so often, one request after the other.

A closed loop that ends after some seconds shows the answers that came, and nothing of the requests
that were still waiting; where a server forgets connections, the others look all the better. Here
each request has to be answered, and one that is not counts with the time that it was waited for.
"""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_END_SECONDS = 10.0
_OK = 200
_FIELDS = 3  # in a line of h2load's log: when it was sent, the status, the microseconds it took


@dataclass(frozen=True, slots=True)
class Work:
    """What came of the requests.

    Args:
        asked: requests that were sent.
        answered: those with an answer of status 200.
        refused: those with another answer.
        millis: until each of those answers; for each that has none, as long as it was waited for.
    """

    asked: int
    answered: int
    refused: int
    millis: tuple[float, ...]

    @property
    def forgotten(self) -> int:
        """Requests without any answer."""
        return self.asked - self.answered - self.refused

    def quantile(self, q: float) -> float:
        """Of the milliseconds."""
        return float(np.quantile(self.millis, q))


def run(
    url: str,
    header: str,
    size: int,
    *,
    connections: int,
    each: int,
    patience: float,
    folder: Path,
) -> Work:
    """Let each connection ask so often, and wait until all is answered or patience ends.

    Args:
        url: of an inference.
        header: the JSON of the request.
        size: bytes of zeros behind it.
        connections: that ask.
        each: requests of one connection.
        patience: seconds after which whoever has no answer gets none.
        folder: for the files that h2load reads and writes.

    Raises:
        RuntimeError: h2load could not run, and what it said.
    """
    body, log = folder / "work.body", folder / "work.log"
    body.write_bytes(header.encode() + bytes(size))
    log.unlink(missing_ok=True)  # h2load appends
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-n{connections * each}"]
    command += [f"--log-file={log}", f"-d{body}"]
    command += [f"-HInference-Header-Content-Length: {len(header)}"]
    command += ["-HContent-Type: application/octet-stream", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=_END_SECONDS)
    try:
        return counted(log.read_text(), connections, each, patience)
    except (OSError, ValueError):
        raise RuntimeError(f"h2load: {said}") from None


def counted(log: str, connections: int, each: int, patience: float) -> Work:
    """Read h2load's log.

    Whoever is answered asks again until it has asked `each` times: the requests without an answer
    are the last ones of connections that have fewer answers, at most one of each. How many those
    are is not logged; of the answers that are missing, no connection can lack more than all.

    Raises:
        ValueError: it is no such log, or empty.
    """
    rows = [line.split("\t") for line in log.splitlines()]
    rows = [row for row in rows if len(row) == _FIELDS]  # the last may be cut off
    if not rows:
        raise ValueError("h2load logged no request")
    answered = sum(int(row[1]) == _OK for row in rows)
    missing = connections * each - len(rows)
    forgotten = min(connections, -(-missing // each))
    took = [int(row[2]) / 1000 for row in rows] + [patience * 1000] * forgotten
    return Work(len(rows) + forgotten, answered, len(rows) - answered, tuple(took))
