"""The bento and the image: built without an engine or, the bento, a network; sizes and starts."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.harness import namespace
from benchmarks.harness.artefact import (
    Served,
    bento,
    build_bento,
    serving_bento,
    serving_image,
    wrong_answers,
)
from benchmarks.harness.gateway import ROOT
from benchmarks.harness.image import Build, size
from benchmarks.harness.record import Evidence

_LARGEST = 8


def main() -> int:
    """Build both, serve each, print and record."""
    evidence = Evidence(
        "bento", "Triton 24.10, Python backend; and ONNX Runtime in process, where it says onnx"
    )
    reason = namespace.trouble()
    if reason:
        raise SystemExit(f"this needs network and mount namespaces (`unshare`): {reason}")
    with tempfile.TemporaryDirectory(prefix="lupine-bento-") as scratch:
        _bento(evidence, Path(scratch))
        _image(evidence, Path(scratch))
    return evidence.finish()


def _bento(evidence: Evidence, scratch: Path) -> None:
    home, empty = scratch / "home", scratch / "empty"
    home.mkdir()
    empty.mkdir()
    begun = time.monotonic()
    built = build_bento(home)
    seconds = time.monotonic() - begun
    whole = built.returncode == 0
    evidence.add(
        "`bentoml build`, no network but loopback", f"{seconds:.1f} s", "builds", holds=whole
    )
    if not whole:
        evidence.fault(f"bentoml build: {built.stdout}{built.stderr}")
        return
    evidence.add("the bento", _megabytes(size(bento(home))))
    evidence.raw["bento"] = {"build seconds": seconds, "bytes": size(bento(home))}
    onnx = {"LUPINE_ENGINE__KIND": "onnx"}
    _serve(evidence, "the bento, onnx", serving_bento("lupine:latest", home, empty, onnx))
    runtime = ROOT / ".triton"
    if runtime.is_dir():
        triton = {"LUPINE_ENGINE__KIND": "triton", "LUPINE_TRITON__RUNTIME": str(runtime)}
        _serve(
            evidence,
            "the bento, managed Triton",
            serving_bento("lupine:latest", home, empty, triton),
        )
    if list(empty.iterdir()):
        evidence.fault(f"the empty folder is not empty any more: {list(empty.iterdir())}")


def _image(evidence: Evidence, scratch: Path) -> None:
    (scratch / "stages").mkdir()
    build = Build(scratch / "stages")
    for kind, name in (("remote", "onnx"), ("managed", "managed Triton")):
        begun = time.monotonic()
        image = build.image(TRITON=kind)
        seconds = time.monotonic() - begun
        more = " more" if kind == "managed" else ""
        evidence.add(f"every RUN of the Dockerfile, TRITON={kind}", f"{seconds:.1f} s{more}")
        evidence.add(f"what it adds to the base image, TRITON={kind}", _megabytes(size(image.tree)))
        parts = {part.name: size(part) for part in image.tree.iterdir()}
        evidence.raw[f"image {kind}"] = {"seconds": seconds, "bytes": parts}
        settings = {"LUPINE_ENGINE__KIND": "onnx"} if kind == "remote" else {}
        _serve(evidence, f"the image, {name}, read-only as 10001", serving_image(image, **settings))
    packages = next((image.tree / "venv").glob("lib/python3*/site-packages"))
    largest = sorted(((size(p), p.name) for p in packages.iterdir() if p.is_dir()), reverse=True)
    evidence.raw["largest packages of the gateway"] = {n: b for b, n in largest[:_LARGEST]}
    told = ", ".join(f"{name} {_megabytes(amount)}" for amount, name in largest[:4])
    evidence.add("the largest of its packages", told)
    shutil.rmtree(scratch / "stages")


def _serve(evidence: Evidence, name: str, start: AbstractContextManager[Served]) -> None:
    with start as served:
        evidence.add(f"{name}: start to ready", f"{served.seconds:.1f} s")
        evidence.raw[name] = served.seconds
        for what in wrong_answers(served):
            evidence.fault(f"{name}: {what}")
        status = served.stop()
        if status:
            evidence.fault(f"{name}: exit status {status} after SIGTERM")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
