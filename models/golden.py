"""Golden cases on disk: inputs and the right outputs, in the protocol's own JSON form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.catalog import Case, ModelSpec
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

FOLDER = Path(__file__).parent / "golden"
_DIGITS = 7  # significant; what a FP32 holds


def path_of(spec: ModelSpec) -> Path:
    """Where a model's golden cases are committed."""
    return FOLDER / f"{spec.name}.json"


def load(spec: ModelSpec) -> list[Case]:
    """The committed golden cases of a model."""
    found = json.loads(path_of(spec).read_text())
    return [
        Case(
            name=case["name"],
            inputs=_arrays(case["inputs"]),
            outputs=_arrays(case["outputs"]),
            notes=case.get("notes", {}),
        )
        for case in found["cases"]
    ]


def dumps(spec: ModelSpec, cases: Iterable[Case]) -> str:
    """The text of a golden file: one line a tensor, so that a change can be read."""
    lines = [
        "{",
        f' "model": {json.dumps(spec.name)},',
        f' "source": {json.dumps(spec.golden_source)},',
        f' "tolerance": {spec.tolerance},',
        ' "cases": [',
    ]
    written = [_case(spec, case) for case in cases]
    return "\n".join([*lines, ",\n".join(written), " ]", "}", ""])


def _case(spec: ModelSpec, case: Case) -> str:
    def tensors(specs: tuple[TensorSpec, ...], arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
        return ",\n".join(f"    {json.dumps(_tensor(one, arrays[one.name]))}" for one in specs)

    notes = f',\n   "notes": {json.dumps(dict(case.notes))}' if case.notes else ""
    return (
        f'  {{"name": {json.dumps(case.name)},\n'
        f'   "inputs": [\n{tensors(spec.inputs, case.inputs)}\n   ],\n'
        f'   "outputs": [\n{tensors(spec.outputs, case.outputs)}\n   ]{notes}}}'
    )


def _tensor(spec: TensorSpec, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    flat = array.ravel().tolist()
    if spec.datatype is Datatype.BYTES:
        flat = [element.decode() for element in flat]
    elif spec.datatype.is_float:
        flat = [float(f"{element:.{_DIGITS}g}") for element in flat]
    return {
        "name": spec.name,
        "datatype": spec.datatype.name,
        "shape": list(array.shape),
        "data": flat,
    }


def _arrays(tensors: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for tensor in tensors:
        datatype = Datatype[tensor["datatype"]]
        data = tensor["data"]
        if datatype is Datatype.BYTES:
            data = [element.encode() for element in data]
        found[tensor["name"]] = np.array(data, datatype.dtype).reshape(tensor["shape"])
    return found
