"""`sla.toml`: the load, and what is promised under it. Types, limits, errors that name the line.

The types are the schema: `sla.schema.json` is made from them (`python -m benchmarks schema`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from benchmarks import place

DEFAULT = Path(__file__).with_name("sla.toml")
"""The SLA file of whoever names none."""

Wire = Literal["http-binary", "http-json", "grpc"]

_Name = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[\w .,:+-]+$")]
_Model = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^/:]+$")]
_HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]
_HeaderValue = Annotated[str, Meta(pattern=r"^[ -~]*$", max_length=8192)]
_Seconds = Annotated[float, Meta(ge=0.001, le=86_400)]
_Rate = Annotated[float, Meta(gt=0, le=100_000, description="requests a second")]
_Millis = Annotated[float, Meta(gt=0, le=600_000, description="milliseconds")]
_Ratio = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=1, le=100_000)]


class SlaError(Exception):
    """A file that cannot be used: which one, which line, what is wrong, what would be right."""


class Poisson(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="poisson", tag_field="process"
):
    """Independent callers: the gaps are exponential."""


class Constant(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="constant", tag_field="process"
):
    """One request every 1/rate seconds, like a scheduled job."""


class Bursts(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="bursts", tag_field="process"
):
    """All requests come in the first `on_seconds` of every `every_seconds`; `rate` is the mean."""

    on_seconds: _Seconds
    every_seconds: _Seconds


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a staircase."""

    seconds: _Seconds
    factor: Annotated[float, Meta(ge=0, le=1000, description="times the target's rate")]


class Steps(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="steps", tag_field="process"
):
    """A Poisson process whose rate climbs and falls; begins anew when the steps are through."""

    steps: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=1000)]


class Trace(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="trace", tag_field="process"
):
    """Recorded arrivals: a file with one time a line, in seconds, ascending; repeated when it ends.

    The trace decides the rate: the target names none.
    """

    file: Annotated[str, Meta(min_length=1, description="relative to the SLA file")]
    speed: Annotated[float, Meta(gt=0, le=1000)] = 1.0


Arrivals = Poisson | Constant | Bursts | Steps | Trace
_PROCESSES: dict[str, Any] = {str(kind.__struct_config__.tag): kind for kind in get_args(Arrivals)}

QUANTILES = {0.5: "p50_ms", 0.95: "p95_ms", 0.99: "p99_ms", 0.999: "p999_ms"}
"""The quantiles that can be promised, and the key of `Limits` that each has."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is promised. A request that fails counts as slower than every limit."""

    p50_ms: _Millis | None = None
    p95_ms: _Millis | None = None
    p99_ms: _Millis | None = None
    p999_ms: _Millis | None = None
    error_ratio: Annotated[_Ratio | None, Meta(description="at most this share may fail")] = None
    goodput_ratio: Annotated[
        _Ratio | None, Meta(description="at least this share is answered right within goodput_ms")
    ] = None
    goodput_ms: Annotated[_Millis | None, Meta(description="default: p99_ms")] = None
    regression: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(description="p99 may be at most this many times the baseline's"),
    ] = None

    def quantiles(self) -> dict[float, float]:
        """The promised quantiles: probability to milliseconds."""
        named: dict[float, float | None] = {p: getattr(self, key) for p, key in QUANTILES.items()}
        return {p: limit for p, limit in named.items() if limit is not None}


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stream of requests to one model over one wire."""

    name: _Name
    model: _Model
    limits: Limits
    version: Annotated[str, Meta(max_length=20)] = ""
    wire: Wire = "http-binary"
    rate: _Rate | None = None
    users: Annotated[_Count | None, Meta(description="callers, a connection each")] = None
    think_seconds: Annotated[_Seconds, Meta(description="a user asks once in so long")] = 1.0
    connections: Annotated[_Count | None, Meta(description="default: the users, else the rate")] = (
        None
    )
    arrivals: Arrivals = Poisson()
    payloads: Annotated[
        str | None, Meta(description="golden cases, relative to the SLA file; default: the model's")
    ] = None
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, le=1e9)] | None,
        Meta(description="how far a number may be off; default: what the golden cases say"),
    ] = None
    headers: Annotated[
        dict[_HeaderName, _HeaderValue],
        Meta(description="sent with every request; no report has them"),
    ] = {}


class Sla(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    target: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=64)]
    title: Annotated[str, Meta(min_length=1, max_length=120)] = "SLA"
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 1
    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    duration_seconds: _Seconds = 60.0
    warmup_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    repetitions: Annotated[int, Meta(ge=1, le=100)] = 3
    timeout_seconds: Annotated[
        _Seconds, Meta(description="without an answer by then a request has failed")
    ] = 10.0
    processes: Annotated[int, Meta(ge=1, le=256, description="of the load generator")] = 1
    untried: Annotated[
        tuple[str, ...], Meta(description="promises that a quick run leaves out; for reports alone")
    ] = ()


def offered(target: Target) -> float | None:
    """Requests a second that a target means to send; None where a trace decides."""
    if target.users is not None:
        return target.users / target.think_seconds
    return target.rate


def connections(target: Target) -> int:
    """How many connections carry a target's requests.

    Without a word of the file's: one a user, or enough for answers that take a second where the
    load is heaviest, within reason.
    """
    if target.connections is not None:
        return target.connections
    if target.users is not None:
        return target.users
    heaviest = 1.0
    if isinstance(target.arrivals, Bursts):
        heaviest = target.arrivals.every_seconds / target.arrivals.on_seconds
    elif isinstance(target.arrivals, Steps):
        heaviest = max(step.factor for step in target.arrivals.steps)
    return int(min(max((offered(target) or 32) * heaviest, 8), 256))


def load(path: Path) -> Sla:
    """Read an SLA file.

    Raises:
        SlaError: it cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SlaError(f"{path}: {error}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Sla:
    """An SLA file's text; `path` is where it lies, for what it refers to and for errors.

    Raises:
        SlaError: as `load`.
    """
    try:
        # A program that makes an SLA, as the search for the capacity does, may write it as JSON.
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise SlaError(f"{path}:{error.lineno}: {error.msg}") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        raise SlaError(f"{where}: {error}") from None
    try:
        sla = msgspec.convert(document, Sla)
    except msgspec.ValidationError as error:
        raise SlaError(_located(text, document, path, str(error))) from None
    for steps, what in _faults(sla, path):
        raise SlaError(f"{path}:{place.line(text, steps)}: {place.dotted(steps)}: {what}")
    return sla


def digest(sla: Sla) -> str:
    """SHA-256 of what an SLA says: two that are equal have the same."""
    return hashlib.sha256(msgspec.json.encode(sla, order="deterministic")).hexdigest()


def masked(sla: Sla) -> Sla:
    """The same without the values of headers, among which may be credentials."""
    targets = tuple(
        msgspec.structs.replace(target, headers=dict.fromkeys(target.headers, "***"))
        for target in sla.target
    )
    return msgspec.structs.replace(sla, target=targets)


def schema() -> dict[str, Any]:
    """The JSON schema of an SLA file, for editors and for `sla.schema.json`."""
    found = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(Sla)))  # lists, no tuples
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def payload_path(target: Target, path: Path) -> Path:
    """Where a target's golden cases lie.

    Args:
        target: of the SLA.
        path: of the SLA file.
    """
    if target.payloads is not None:
        return path.parent / target.payloads
    return Path(__file__).parents[1] / "models" / "golden" / f"{target.model}.json"


def trace_path(target: Target, path: Path) -> Path | None:
    """Where a target's recorded arrivals lie; None where its process is no trace.

    Args:
        target: of the SLA.
        path: of the SLA file.
    """
    if not isinstance(target.arrivals, Trace):
        return None
    return path.parent / target.arrivals.file


def promises_anything(limits: Limits) -> bool:
    """Whether there is anything to judge; a regression alone needs a baseline."""
    others = (limits.error_ratio, limits.goodput_ratio)
    return bool(limits.quantiles()) or any(ratio is not None for ratio in others)


def slug(name: str) -> str:
    """A target's name as a file's."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())


def with_rate(target: Target, rate: float) -> Target:
    """The same target with a Poisson process of this rate, over as many connections."""
    return msgspec.structs.replace(
        target, rate=rate, users=None, connections=connections(target), arrivals=Poisson()
    )


def _faults(sla: Sla, path: Path) -> list[tuple[tuple[str | int, ...], str]]:
    """What no type can say: where in the document, and what is wrong."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    seen: set[str] = set()
    for i, target in enumerate(sla.target):
        here: tuple[str | int, ...] = ("target", i)
        if target.name != target.name.strip():
            found.append(((*here, "name"), "a name neither begins nor ends with a space"))
        if slug(target.name) in seen:
            what = f"another target is called {target.name!r} too, but for signs or case"
            found.append(((*here, "name"), what))
        seen.add(slug(target.name))
        traced = isinstance(target.arrivals, Trace)
        if traced and (target.rate is not None or target.users is not None):
            key = "rate" if target.rate is not None else "users"
            found.append(((*here, key), "the trace decides the rate: name neither rate nor users"))
        if not traced and (target.rate is None) == (target.users is None):
            found.append((here, f"target {target.name!r} needs either rate or users"))
        if isinstance(target.arrivals, Bursts) and (
            target.arrivals.on_seconds > target.arrivals.every_seconds
        ):
            key = "on_seconds"
            found.append(((*here, "arrivals", key), "on_seconds is at most every_seconds"))
        if isinstance(target.arrivals, Steps) and not any(s.factor for s in target.arrivals.steps):
            found.append(
                ((*here, "arrivals"), "all steps have the factor 0: nothing would be sent")
            )
        found += _limit_faults(target, here)
        payloads = payload_path(target, path)
        if not payloads.is_file():
            hint = "" if target.payloads else f"; model {target.model!r} has no golden cases here"
            key = "payloads" if target.payloads else "model"
            found.append(((*here, key), f"there is no file of payloads {payloads}{hint}"))
        file = trace_path(target, path)
        if file is not None and not file.is_file():
            found.append(((*here, "arrivals", "file"), f"there is no trace {file}"))
    return found


def _limit_faults(
    target: Target, here: tuple[str | int, ...]
) -> list[tuple[tuple[str | int, ...], str]]:
    limits = target.limits
    found: list[tuple[tuple[str | int, ...], str]] = []
    ordered = list(limits.quantiles().items())
    for (low, less), (high, more) in itertools.pairwise(ordered):
        if less > more:
            what = f"p{low * 100:g} may not be longer than p{high * 100:g}: {less:g} > {more:g} ms"
            found.append(((*here, "limits"), what))
    if limits.goodput_ratio is not None and (limits.goodput_ms or limits.p99_ms) is None:
        found.append(((*here, "limits"), "goodput_ratio needs goodput_ms, or p99_ms"))
    if not promises_anything(limits):
        found.append(((*here, "limits"), f"target {target.name!r} promises nothing: name a limit"))
    return found


def _located(text: str, document: Any, path: Path, problem: str) -> str:
    """Msgspec's message with the line in place of its path, and what would be right."""
    what, _, trail = problem.partition(" - at `$")
    steps: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", trail):
        steps.append(int(index) if index else name)
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown:
        what = f"no such key; there are {', '.join(_keys(document, steps))}"
        steps.append(unknown[1])
    elif steps == ["target"] and isinstance(document["target"], dict):
        what = "one table: write [[target]] over each"
    elif steps[-1:] == ["process"]:
        what = f"{what}; there are {', '.join(_PROCESSES)}"
    elif steps[-1:] == ["wire"]:
        what = f"{what}; there are {', '.join(get_args(Wire))}"
    return f"{path}:{place.line(text, steps)}: {place.dotted(steps)}: {what}"


def _keys(document: Any, steps: Sequence[str | int]) -> Sequence[str]:
    """The keys of the table at a place in a document."""
    named = [step for step in steps if isinstance(step, str)]
    kinds: dict[str, Any] = {"target": Target, "limits": Limits, "steps": Step}
    if named[-1:] == ["arrivals"]:
        for step in steps:
            document = document[step]
        return ("process", *_PROCESSES[document["process"]].__struct_fields__)
    kind = kinds[named[-1]] if named else Sla
    fields: tuple[str, ...] = kind.__struct_fields__
    return fields
