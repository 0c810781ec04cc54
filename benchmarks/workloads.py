"""What is asked, and what must be answered: golden cases, made ready for a wire.

A file of golden cases is JSON: `{"tolerance": …, "cases": [{"inputs": […], "outputs": […]}]}`, each
tensor in the protocol's own form (`name`, `datatype`, `shape`, `data`; `parameters` beside them are
the request's). `models/golden` holds those
of our models, made by their own authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from benchmarks import sla as slas
from benchmarks import trace
from benchmarks.sla import Sla, SlaError, Target
from benchmarks.wires import oip_grpc, oip_http
from benchmarks.wires.exchange import Array, Request
from benchmarks.wires.tensors import DTYPES

_ID_LENGTH = 16
_NO_ID = "0" * _ID_LENGTH
_GRPC_ID = bytes([3 << 3 | 2, _ID_LENGTH])  # field 3, a string of so many bytes
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Workload:
    """The golden cases of a target.

    Args:
        cases: each a request without an id, with what must be answered.
        tolerance: how far a number may be off.
    """

    cases: Sequence[Request]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request for one wire, complete but for its id: encoding is not what is measured.

    Args:
        case: the request.
        head: the bytes before the id.
        tail: those behind it.
        json_length: how much of the HTTP body is JSON.
    """

    case: Request
    head: bytes
    tail: bytes
    json_length: int

    def bytes_for(self, identity: str) -> bytes:
        """The request with an id of 16 characters."""
        return self.head + identity.encode() + self.tail


def identity(worker: int, number: int) -> str:
    """An id that no other request of a run has; 16 characters."""
    return f"{worker:04x}{number:012x}"


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]


class _Case(msgspec.Struct):
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    parameters: dict[str, str | bool | int | float] = {}


class _File(msgspec.Struct):
    cases: Annotated[list[_Case], msgspec.Meta(min_length=1)]
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = _TOLERANCE


def load(path: Path, model: str) -> Workload:
    """Read golden cases.

    Raises:
        SlaError: the file holds none, and why.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        cases = [
            Request(_NO_ID, model, _arrays(one.inputs), _arrays(one.outputs), one.parameters)
            for one in found.cases
        ]
    except OSError as error:
        raise SlaError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # msgspec's are of them
        raise SlaError(f"{path} holds no golden cases: {error}") from None
    return Workload(cases, found.tolerance)


def check(sla: Sla, path: Path) -> None:
    """Read every file that an SLA names, before any load is sent.

    Args:
        sla: that names them.
        path: of the SLA file.

    Raises:
        SlaError: one of them cannot be used, and why.
    """
    for target in sla.target:
        load(slas.payload_path(target, path), target.model)
        trace.of(target, path)


def prepare(workload: Workload, target: Target) -> list[Prepared]:
    """Encode every case for a target's wire."""
    if target.wire == "grpc":
        return [_grpc(case, target) for case in workload.cases]
    return [_http(case, binary=target.wire == "http-binary") for case in workload.cases]


def _http(case: Request, *, binary: bool) -> Prepared:
    body, length = oip_http.body(case, binary=binary)
    head, _, tail = body.partition(_NO_ID.encode())  # the id comes first
    return Prepared(case, head, tail, length)


def _grpc(case: Request, target: Target) -> Prepared:
    message = oip_grpc.encode(case, typed=False)
    message.ClearField("id")
    message.model_version = target.version
    # Fields may stand in any order: the id goes to the end.
    return Prepared(case, bytes(message.SerializeToString()) + _GRPC_ID, b"", 0)


def _arrays(tensors: Sequence[_Tensor]) -> dict[str, Array]:
    """Tensors by name.

    Raises:
        ValueError: one of them is none, and why.
    """
    found = {}
    for tensor in tensors:
        dtype = DTYPES.get(tensor.datatype)
        if dtype is None:
            known = ", ".join(DTYPES)
            raise ValueError(f"datatype {tensor.datatype!r:.40} is none of {known}")
        try:
            data = tensor.data
            if tensor.datatype == "BYTES":
                data = [text.encode() for text in data]
            flat = np.empty(len(data), dtype)
            flat[:] = data
            found[tensor.name] = flat.reshape(tensor.shape)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"tensor {tensor.name!r:.40}: {error}") from None
    return found
