"""Builds a model, proves it, and puts it where it is wanted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import golden, manifest
from models.catalog import VERSION, Kind, ModelError, ModelSpec, builder
from models.package import publish
from models.verify import check_fit, check_golden
from service.repository.config import CONFIG_FILE

_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model that was put into a repository.

    `reproduced` says whether the bytes are those of the manifest; where they are not, `differs`
    names what differs here, packages' versions and the processor's maker, as `{it: [there, here]}`.
    """

    model: str
    version: int
    path: str
    sha256: str
    bytes: int
    seconds: float
    reproduced: bool
    differs: dict[str, list[str]]
    facts: dict[str, Any]


def make(spec: ModelSpec, repository: Path) -> Made:
    """Build a model, hold it against its spec and golden cases, and put it into a repository.

    Raises:
        ModelError: it cannot be built, fails its golden cases, or is packaged and not byte for
            byte what the manifest says.
        OSError: the repository cannot be written.
    """
    begun = time.monotonic()
    known = manifest.load(spec)
    build = builder(spec).build(spec)
    digest = manifest.sha256(build.onnx)
    reproduced = digest == known["sha256"]
    if spec.kind is Kind.PACKAGED and not reproduced:
        raise ModelError(
            f"the wheel's {spec.name!r} has sha256 {digest}, the manifest says {known['sha256']}: "
            "not packaged"
        )
    check_fit(build.onnx, spec)
    # The committed cases are the committed weights' own; others answer otherwise.
    same = reproduced or spec.kind is Kind.PACKAGED
    check_golden(build.onnx, spec, golden.load(spec) if same else build.golden())
    return Made(
        model=spec.name,
        version=VERSION,
        path=str(publish(repository, spec, build.onnx)),
        sha256=digest,
        bytes=len(build.onnx),
        seconds=round(time.monotonic() - begun, 2),
        reproduced=reproduced,
        differs=manifest.differing(spec, known),
        facts=dict(build.facts),
    )


def record(spec: ModelSpec, repository: Path) -> list[Path]:
    """Build a model and write down what is committed of it; gives the files.

    Raises:
        ModelError: it cannot be built, or its own golden cases do not hold in ONNX Runtime.
    """
    from models.canonical import opsets  # noqa: PLC0415 - needs onnx, which packaging does not

    build = builder(spec).build(spec)
    check_fit(build.onnx, spec)
    cases = build.golden()
    check_golden(build.onnx, spec, cases)
    described = manifest.describe(spec, build, opsets(build.onnx))
    written = {
        manifest.path_of(spec): manifest.dumps(described),
        golden.path_of(spec): golden.dumps(spec, cases),
    }
    for name, text in build.companions().items():
        written[_ROOT / name] = text
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    model = publish(repository, spec, build.onnx)
    return [*written, model, model.parent.parent / CONFIG_FILE]
