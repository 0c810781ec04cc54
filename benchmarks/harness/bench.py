"""`lupine bench` as its users call it: a file is written, the command run, the report read."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks import sla_file
from benchmarks.harness.gateway import LUPINE, Running
from benchmarks.report import document as documents
from benchmarks.report.document import Document
from benchmarks.run import STATUS


def bench(
    running: Running, sla: str, folder: Path, *, out: str = "report", shown: bool = False
) -> Document:
    """Hold a gateway to an SLA.

    Args:
        running: the gateway.
        sla: text of the SLA file; what it names by relative paths lies in the folder.
        folder: takes `sla.toml`, in place of an earlier one, and the report.
        out: name of the report's folder in it, which is new.
        shown: whether the live view is passed on; it gets into the way of a progress bar.

    Raises:
        SlaError: the text is no SLA that can be used.
        OSError: the command left no report.
        RuntimeError: its exit status is not that of the report's verdict.
    """
    file = folder / "sla.toml"
    file.write_text(sla)
    sla_file.load(file)
    urls = ("--url", running.url, "--grpc-url", running.grpc_url)
    done = subprocess.run(
        [LUPINE, "bench", "--sla", str(file), "--out", str(folder / out), *urls],
        stdout=subprocess.DEVNULL,
        stderr=None if shown else subprocess.DEVNULL,
        check=False,
    )
    report = documents.read(folder / out)
    if done.returncode != STATUS[report.verdict.outcome]:
        raise RuntimeError(f"status {done.returncode} for {report.verdict.outcome}")
    return report
