"""Cases on disk: golden ones, and held-out data with the right outputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models import tensors
from models.specification import Case, ModelError, ModelSpec
from service.protocol.datatypes import Datatype

FOLDER = Path(__file__).parent / "golden"
HELD_OUT_FOLDER = Path(__file__).parent / "held_out"
_HELD_OUT_ROWS = 200  # committed, of what was held out


def path_of(name: str) -> Path:
    """Where a model's golden cases are committed."""
    return FOLDER / f"{name}.json"


def held_out_path_of(name: str) -> Path:
    """Where a model's held-out data is committed."""
    return HELD_OUT_FOLDER / f"{name}.json"


def load(name: str) -> list[Case]:
    """The committed golden cases of a model.

    Raises:
        ModelError: there are none yet.
    """
    try:
        found = json.loads(path_of(name).read_text())
    except FileNotFoundError:
        raise ModelError(
            f"{name!r} has no golden cases: `python -m models record {name}` writes them"
        ) from None
    return [case_of(case) for case in found["cases"]]


def load_held_out(name: str) -> Case | None:
    """The committed held-out data of a model, if it has any."""
    path = held_out_path_of(name)
    return case_of(json.loads(path.read_text())) if path.is_file() else None


def case_of(written: Mapping[str, Any]) -> Case:
    """A case out of its JSON form.

    Raises:
        ModelError: a tensor is not in the protocol's form.
    """
    return Case(
        name=written["name"],
        inputs=tensors.from_json(written["inputs"]),
        outputs=tensors.from_json(written.get("outputs", ())),
        argmax=written.get("argmax", {}),
        notes=written.get("notes", {}),
    )


def dumps(spec: ModelSpec, cases: Iterable[Case]) -> str:
    """The text of a golden file: one line a tensor, so that a change can be read."""
    lines = [
        "{",
        f' "model": {json.dumps(spec.name)},',
        f' "source": {json.dumps(spec.golden_source)},',
        f' "tolerance": {spec.tolerance},',
        ' "cases": [',
    ]
    types = {one.name: one.datatype for one in (*spec.inputs, *spec.outputs)}
    written = [_case(case, types) for case in cases]
    return "\n".join([*lines, ",\n".join(written), " ]", "}", ""])


def dumps_held_out(case: Case) -> str:
    """The text of a file of held-out data: its first 200 rows."""
    cut = Case(
        name=case.name,
        inputs={name: array[:_HELD_OUT_ROWS] for name, array in case.inputs.items()},
        outputs={name: array[:_HELD_OUT_ROWS] for name, array in case.outputs.items()},
    )
    every = {**cut.inputs, **cut.outputs}
    return _case(cut, {name: Datatype(array.dtype) for name, array in every.items()}) + "\n"


def _case(case: Case, types: Mapping[str, Datatype]) -> str:
    def written(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
        return ",\n".join(
            f"    {json.dumps(tensors.to_json(name, types[name], arrays[name]))}"
            for name in types
            if name in arrays
        )

    notes = f',\n   "notes": {json.dumps(dict(case.notes))}' if case.notes else ""
    return (
        f'  {{"name": {json.dumps(case.name)},\n'
        f'   "inputs": [\n{written(case.inputs)}\n   ],\n'
        f'   "outputs": [\n{written(case.outputs)}\n   ]{notes}}}'
    )
