"""Reads an SLA file: what is wrong in it is told with its line, and with what would be right."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from benchmarks import place
from benchmarks.sla import (
    PROCESSES,
    Bursts,
    Limits,
    Sla,
    SlaError,
    Step,
    Steps,
    Target,
    Trace,
    Wire,
    payload_path,
    promises_anything,
    slug,
    trace_path,
)


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
        what = f"{what}; there are {', '.join(PROCESSES)}"
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
        return ("process", *PROCESSES[document["process"]].__struct_fields__)
    kind = kinds[named[-1]] if named else Sla
    fields: tuple[str, ...] = kind.__struct_fields__
    return fields
