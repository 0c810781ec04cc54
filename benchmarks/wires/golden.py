"""The golden cases of the committed models, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.wires.exchange import Array
from benchmarks.wires.tensors import DTYPES


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, and what must be answered.

    Args:
        inputs: by name.
        expected: outputs by name.
        tolerance: by which real numbers may be off.
    """

    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    tolerance: float


def cases(path: Path) -> Sequence[Case]:
    """Read a file of them.

    Raises:
        ValueError: it is none, or empty.
    """
    golden = msgspec.json.decode(path.read_bytes())
    try:
        found = [
            Case(_arrays(case["inputs"]), _arrays(case["outputs"]), golden["tolerance"])
            for case in golden["cases"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} holds no golden cases: {error!r}") from error
    if not found:
        raise ValueError(f"{path.name} holds no golden case")
    return found


def _arrays(tensors: Sequence[Mapping[str, Any]]) -> Mapping[str, Array]:
    found = {}
    for tensor in tensors:
        data = tensor["data"]
        if tensor["datatype"] == "BYTES":
            data = [value.encode() for value in data]
        array = np.array(data, DTYPES[tensor["datatype"]])
        found[tensor["name"]] = array.reshape(tensor["shape"])
    return found
