"""Where a worker's time goes under load, by py-spy: a flame graph, and the shares of its parts.

py-spy reads another process's memory: it needs the right to trace it (root, or
`kernel.yama.ptrace_scope=0`).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.harness import mlp, scale, wrk
from benchmarks.harness.gateway import ROOT, Running, gateway
from benchmarks.harness.record import Evidence

CONNECTIONS = (1, 64)
_SECONDS = 15
_SAMPLES = 500  # a second
_MOST = 15  # functions that are listed
_SPY = Path(sys.executable).with_name("py-spy")
_GRAPHS = ROOT / "docs" / "evidence"
_LINE = re.compile(r":\d+\)$")
Shares = Mapping[str, float]
_LOOP = "runners.py"  # in whose stacks the event loop runs; the other threads wait


def main() -> int:
    """Load, look, print and record."""
    evidence = Evidence("profile", "Triton 24.10, Python backend; 1 worker")
    scale.tell(evidence)
    with tempfile.TemporaryDirectory(prefix="lupine-profile-") as scratch:
        folder = Path(scratch)
        request = wrk.script(folder, mlp.INPUT, [1, 64], mlp.OUTPUT)
        repository = mlp.repository(folder / "repo", triton_batches=False)
        with gateway("--repository", str(repository), "--workers", "1") as running:
            for connections in CONNECTIONS:
                _profile(evidence, running, request, connections, folder)
    return evidence.finish()


def _profile(
    evidence: Evidence, running: Running, request: Path, connections: int, folder: Path
) -> None:
    url = f"{running.url}/v2/models/mlp/infer"
    seconds = int(scale.seconds(_SECONDS, 3.0))
    wrk.run(url, request, connections=connections, seconds=2)
    stacks, graph = folder / "stacks", _GRAPHS / f"profile-{connections}.svg"
    for kind, into in (("raw", stacks), ("flamegraph", graph)):
        with _watched(running, kind, seconds, into):
            load = wrk.run(url, request, connections=connections, seconds=seconds + 1)
        if load.failed:
            evidence.fault(f"{load.failed} requests failed at {connections} connections")
    own, within = shares(stacks.read_text().splitlines())
    evidence.add(f"{connections} connections", f"{load.rate:.0f} requests/s under py-spy")
    for name, share in islice(own.items(), _MOST):
        evidence.add(f"{connections} connections, in itself: {name}", f"{share:.1%}")
    evidence.raw[f"{connections}"] = {
        "in itself": dict(islice(own.items(), 3 * _MOST)),
        "with what it calls": dict(islice(within.items(), 3 * _MOST)),
    }


@contextmanager
def _watched(running: Running, kind: str, seconds: int, into: Path) -> Iterator[None]:
    """Sample the worker while the block runs; it must run longer than that.

    Raises:
        RuntimeError: py-spy could not, and what it said.
    """
    (worker,) = running.workers()
    command = [str(_SPY), "record", "--gil", f"--duration={seconds}", f"--rate={_SAMPLES}"]
    command += [f"--format={kind}", f"--output={into}", f"--pid={worker.pid}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield
    said, _ = process.communicate(timeout=30)
    if process.returncode:
        raise RuntimeError(f"py-spy: {said.strip()}")


def shares(stacks: Sequence[str]) -> tuple[Shares, Shares]:
    """Of the time in the event loop: each function in itself, and with all that it calls.

    Args:
        stacks: a line each, its frames from the outermost on between semicolons, then how often it
            was seen.

    Returns:
        Both with the largest first.

    Raises:
        ValueError: none is of the event loop.
    """
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        if any(_LOOP in frame for frame in frames):
            own[frames[-1]] += int(count)
            within.update(dict.fromkeys(frames, int(count)))
    total = own.total()
    if not total:
        raise ValueError("no sample of an event loop")
    return _of(own, total), _of(within, total)


def _of(counted: Counter[str], total: int) -> Shares:
    return {name: count / total for name, count in counted.most_common()}
