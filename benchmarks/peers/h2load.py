"""h2load, the closed loop over gRPC: one framed message, again and again, over HTTP/2."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.peer import Exchange
from benchmarks.peers.request import framed

CHANNELS = 8
_FRAME = 5  # bytes before each message


@dataclass(frozen=True, slots=True)
class Printed:
    """What h2load says at its end.

    Args:
        rate: answers a second.
        done: requests that ended.
        failed: those that failed as HTTP/2 sees it.
        data: bytes of all answers' bodies.
    """

    rate: float
    done: int
    failed: int
    data: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one run measured; milliseconds.

    Args:
        rate: answers a second that brought a message.
        p50: of the latency.
        p99: of the latency.
        failed: requests that were answered without a message, or not at all.
        asked: requests that were sent.
    """

    rate: float
    p50: float
    p99: float
    failed: int
    asked: int


def run(
    address: str, exchange: Exchange, *, in_flight: int, seconds: float, size: int, folder: Path
) -> Load:
    """Call a method for so many seconds.

    Args:
        address: host and port.
        exchange: what is sent.
        in_flight: calls at once, over 8 channels.
        seconds: of load; its warm-up has been before.
        size: bytes of a good answer's message.
        folder: for the files that h2load reads and writes.

    Raises:
        RuntimeError: h2load could not run, and what it said.
    """
    body, log = folder / "message", folder / "h2load.log"
    body.write_bytes(framed(exchange.body))
    log.unlink(missing_ok=True)  # h2load appends
    command = ["h2load", f"-c{CHANNELS}", f"-m{in_flight // CHANNELS}", f"-D{seconds:g}"]
    command += [f"--log-file={log}", f"-d{body}"]
    command += ["-Hcontent-type: application/grpc", "-Hte: trailers"]
    done = subprocess.run(
        [*command, f"http://{address}{exchange.path}"], capture_output=True, text=True, check=False
    )
    try:
        return judged(parse(done.stdout), times(log.read_text()), size)
    except (ValueError, OSError):
        raise RuntimeError(f"h2load: {done.stdout}{done.stderr}") from None


def parse(text: str) -> Printed:
    """Read what h2load printed.

    Raises:
        ValueError: it did not come to its end.
    """
    rate = re.search(r"finished in \S+, ([\d.]+) req/s", text)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    data = re.search(r"\((\d+)\) data$", text, re.MULTILINE)
    if rate is None or counts is None or data is None:
        raise ValueError("no figures in what h2load printed")
    ended, succeeded = int(counts[1]), int(counts[2])
    lost = max(ended - succeeded, int(counts[3]) + int(counts[4]))
    return Printed(float(rate[1]), ended, lost, int(data[1]))


def times(log: str) -> list[float]:
    """The latencies in h2load's log, in milliseconds: its third column, in microseconds."""
    return [float(line.split("\t")[2]) / 1000 for line in log.splitlines()]


def judged(printed: Printed, latencies: list[float], size: int) -> Load:
    """What was measured, without the calls that failed.

    A call that fails is answered 200 too, its status comes in the trailers, which h2load does not
    read; but it brings no message, and good messages are of one size.

    Raises:
        ValueError: there is no latency.
    """
    if not latencies:
        raise ValueError("h2load logged no request")
    good = min(printed.done - printed.failed, printed.data // (size + _FRAME))
    p50, p99 = np.quantile(latencies, (0.5, 0.99)).tolist()
    share = good / printed.done if printed.done else 0.0
    return Load(printed.rate * share, p50, p99, printed.done - good, printed.done)
