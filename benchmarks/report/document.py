"""`report.json`: what was promised, what was found, and what was tested on what."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.sla import Sla
from benchmarks.verdict import Verdict

FORMAT = 1
"""Grows whenever a reader of older reports would misunderstand a newer one."""

_FILE = "report.json"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of machine; not which one."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was asked.

    Args:
        name: as it is served.
        version: that answered.
        sha256: of its file; empty where the gateway's repository is out of reach.
        config: as the gateway shows it.
    """

    name: str
    version: str
    sha256: str = ""
    config: dict[str, Any] = {}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What was tested on what.

    Args:
        host: of the load generator.
        packages: distribution to version.
        models: those of the SLA.
        engine: what ran the models: `triton`, `onnx` or `echo`; empty where it is not known.
        backend: the same in full, as every headline of speed must say.
        gateway: further settings of it, as far as they were told.
        url: of the HTTP wire.
        grpc_url: host and port of the other; empty where no target uses it.
        began: ISO 8601, UTC.
        command: that makes the measurement again, word by word.
    """

    host: Host
    packages: dict[str, str]
    models: tuple[Model, ...]
    engine: str
    backend: str
    url: str
    grpc_url: str
    began: str
    command: tuple[str, ...]
    gateway: dict[str, Any] = {}


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds; None where more failed than the quantile leaves over, or nothing was asked.

    `max_ms` is the longest of those that ended.
    """

    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One target, over all repetitions.

    Args:
        name: the target's.
        seconds: measured in all.
        asked: requests that were due.
        answered: those that got the right answer.
        failed: by kind, the most frequent first.
        unsent: how many were due and never sent.
        promised_rate: requests a second that the SLA names; None where a trace decides.
        offered_rate: those that were due.
        achieved_rate: right answers a second.
        latency: from the intended send to the right answer; failures are longer than all.
        service: from the send to the answer, right or not: what a closed loop would have shown.
        late_p99_ms: how late the generator sent, by its own fault.
        wait_p99_ms: how long requests waited for a free connection.
    """

    name: str
    seconds: int
    asked: int
    answered: int
    failed: dict[str, int]
    unsent: int
    promised_rate: float | None
    offered_rate: float
    achieved_rate: float
    latency: Quantiles
    service: Quantiles
    late_p99_ms: float | None
    wait_p99_ms: float | None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All of a report but its plots.

    Args:
        tool: the benchmark's own version.
        sla: what was promised.
        verdict: what was found.
        environment: what was tested on what.
        targets: in the SLA's order, as `summarise` makes them.
        raw: the folder's other files, relative, with their SHA-256.
        format: of this file.
    """

    tool: str
    sla: Sla
    verdict: Verdict
    environment: Environment
    targets: tuple[Summary, ...]
    raw: dict[str, str]
    format: int = FORMAT


def write(folder: Path, document: Document) -> str:
    """Write `report.json`.

    Returns:
        The SHA-256 of the file.

    Raises:
        ValueError: a number is infinite or none; JSON has no word for it, and null means more.
    """
    for where in _endless(msgspec.to_builtins(document), "report"):
        raise ValueError(f"{where} is not finite")
    text = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def read(folder: Path) -> Document:
    """Read `report.json`.

    Raises:
        FileNotFoundError: there is none.
        msgspec.ValidationError: it is none, or of another format.
    """
    text = (folder / _FILE).read_bytes()
    found = msgspec.json.decode(text, type=_Format).format
    if found != FORMAT:
        raise msgspec.ValidationError(f"{folder / _FILE} has format {found}, not {FORMAT}")
    return msgspec.json.decode(text, type=Document)


class _Format(msgspec.Struct):
    format: int


def _endless(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _endless(one, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, one in enumerate(value):
            yield from _endless(one, f"{where}[{i}]")
