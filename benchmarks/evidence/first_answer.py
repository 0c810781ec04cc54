"""From an empty folder to the first right answer: `git clone`, `make serve`, and one request."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.harness.gateway import ROOT, free_port
from benchmarks.harness.record import Evidence

_PATIENCE = 900.0  # packages may have to come from afar
_STROKE = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0] * 8  # a one, as a row of an 8 by 8 picture
_ONE = 1


def main() -> int:
    """Start twice, print and record."""
    evidence = Evidence(
        "first-answer", "Triton 24.10, Python backend; `make serve` in a fresh clone"
    )
    with tempfile.TemporaryDirectory(prefix="lupine-clone-") as scratch:
        clone = Path(scratch) / "lupine"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for name in ("with nothing installed", "a second time"):
            seconds = _first_answer(clone, evidence, name)
            evidence.add(f"`make serve` to the first right answer, {name}", f"{seconds:.1f} s")
            evidence.raw[name] = seconds
    return evidence.finish()


def _first_answer(clone: Path, evidence: Evidence, name: str) -> float:
    port = free_port()
    begun = time.monotonic()
    process = subprocess.Popen(
        ["make", "--silent", "serve", f"ARGS=--port {port}"],
        cwd=clone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        while (digit := _ask(port)) is None:
            if process.poll() is not None or time.monotonic() - begun > _PATIENCE:
                raise RuntimeError(f"make serve, {name}: no answer (exit {process.poll()})")
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        if digit != _ONE:
            evidence.fault(f"{name}: the picture of a one was read as {digit}")
    finally:
        # The gateway, not make, ends in peace at SIGTERM; make follows.
        for child in psutil.Process(process.pid).children():
            child.terminate()
        process.wait(60)
    return seconds


def _ask(port: int) -> int | None:
    """The digit that `digits` reads; None while nobody answers."""
    image = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": _STROKE}
    try:
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v2/models/digits/infer", json={"inputs": [image]}, timeout=5.0
        )
    except httpx.TransportError:
        return None
    if answer.status_code != httpx.codes.OK:
        return None
    logits: list[float] = answer.json()["outputs"][0]["data"]
    return logits.index(max(logits))
