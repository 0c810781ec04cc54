"""Builds a model, proves it, and puts it where it is wanted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models import behaviour, freshness, golden, manifest, predictors, seeds, suites
from models.catalog import builder
from models.package import publish
from models.specification import VERSION, Kind, ModelError, ModelSpec
from models.verify import check_fit, check_golden, run, session
from service.repository.config import CONFIG_FILE

_TIMED_RUNS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model that was put into a repository.

    `reproduced` says whether the bytes are those of the manifest; where they are not, `differs`
    names the packages that differ here, as `{it: [there, here]}`. `milliseconds` are medians of a
    run in ONNX Runtime, in one thread, by the number of rows. `tensorrt` is what TensorRT
    said of it, where it was asked.
    """

    model: str
    version: int
    path: str
    sha256: str
    bytes: int
    tolerance: float
    seconds: float
    milliseconds: dict[str, float]
    reproduced: bool
    differs: dict[str, list[str]]
    metrics: dict[str, float]
    tests: int
    facts: dict[str, Any]
    tensorrt: str = ""


def make(name: str, repository: Path) -> Made:
    """Build a model, hold it to its spec and its behaviour, and put it into a repository.

    Raises:
        ModelError: it cannot be built, fails a test, or is packaged and not byte for byte what the
            manifest says.
        OSError: the repository cannot be written.
    """
    begun = time.monotonic()
    known = manifest.load(name)
    module = builder(name)
    spec, build = module.SPEC, module.build()
    digest = manifest.sha256(build.onnx)
    reproduced = digest == known["sha256"]
    if spec.kind is Kind.PACKAGED and not reproduced:
        raise ModelError(
            f"the wheel's {name!r} has sha256 {digest}, the manifest says {known['sha256']}: "
            "not packaged"
        )
    check_fit(build.onnx, spec)
    suite = suites.load(name)
    tests = len(behaviour.require(suite, predictors.local(build.onnx), exact=reproduced))
    if not reproduced:  # the committed cases are the committed weights' own
        check_golden(build.onnx, spec, build.golden())
    return Made(
        model=name,
        version=VERSION,
        path=str(publish(repository, spec, build.onnx)),
        sha256=digest,
        bytes=len(build.onnx),
        tolerance=spec.tolerance,
        seconds=round(time.monotonic() - begun, 2),
        milliseconds=_milliseconds(build.onnx, spec),
        reproduced=reproduced,
        differs=manifest.differing(spec, known),
        metrics=dict(build.metrics),
        tests=tests,
        facts=dict(build.facts),
    )


def record(name: str, repository: Path, told: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Build a model and write down what is committed of it; gives the files.

    Args:
        name: of the model.
        repository: to put it into.
        told: is called with what is being done.

    Raises:
        ModelError: it cannot be built, or its own golden cases do not hold in ONNX Runtime.
    """
    from models.canonical import opsets  # noqa: PLC0415 - needs onnx, which packaging does not

    module = builder(name)
    spec, build = module.SPEC, module.build()
    check_fit(build.onnx, spec)
    cases = build.golden()
    check_golden(build.onnx, spec, cases)
    described = manifest.describe(
        spec,
        build,
        opsets=opsets(build.onnx),
        sources=freshness.sources(spec),
        seeds=seeds.report(module, build, told=lambda seed: told(f"{name}: training seed {seed}")),
    )
    held_out = build.held_out()
    written = {
        manifest.path_of(name): manifest.dumps(described),
        golden.path_of(name): golden.dumps(spec, cases),
        **({golden.held_out_path_of(name): golden.dumps_held_out(held_out)} if held_out else {}),
        **{freshness.ROOT / path: text for path, text in build.companions().items()},
    }
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    model = publish(repository, spec, build.onnx)
    return [*written, model, model.parent.parent / CONFIG_FILE]


def _milliseconds(model: bytes, spec: ModelSpec) -> dict[str, float]:
    loaded = session(model)
    cases = golden.load(spec.name)
    found = {}
    for rows in (1, 32):
        one = {name: array[:1] for name, array in cases[0].inputs.items()}
        inputs = {name: np.repeat(array, rows, axis=0) for name, array in one.items()}
        taken = []
        for _ in range(_TIMED_RUNS):
            begun = time.perf_counter()
            run(loaded, inputs)
            taken.append(1000 * (time.perf_counter() - begun))
        found[str(rows)] = round(statistics.median(taken), 3)
    return found
