"""Models whose SLO is one that a machine busy with other tests keeps too.

A request that a stall of the machine would make later than its model's SLO is refused, as it should
be. Where a test is about something else, a refusal would only say that the machine was busy.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from benchmarks.harness.gateway import ROOT

PATIENT_MS = 20_000
_SLO = re.compile(r'(lupine\.slo_p99_ms"\s*value \{\s*string_value: )"\d+"')


def patient_repository(folder: Path, *names: str) -> Path:
    """A copy of what the committed repository holds of these models; the SLOs are patient.

    Raises:
        ValueError: a model has no SLO.
    """
    for name in names:
        shutil.copytree(ROOT / "triton_repo" / name, folder / name)
        config = folder / name / "config.pbtxt"
        text, changed = _SLO.subn(rf'\1"{PATIENT_MS}"', config.read_text())
        if changed != 1:
            raise ValueError(f"model {name!r} has no lupine.slo_p99_ms")
        config.write_text(text)
    return folder
