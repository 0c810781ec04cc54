"""An SLA: the load, and what is promised under it. `sla_file` reads one.

The types are the schema: `sla.schema.json` is made from them (`python -m benchmarks schema`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

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
PROCESSES: dict[str, Any] = {str(kind.__struct_config__.tag): kind for kind in get_args(Arrivals)}
"""The type of each arrival process, by the word that an SLA file has for it."""

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
