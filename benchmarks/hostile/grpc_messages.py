"""The good messages that the bad ones are made of, and how to tell that they were answered."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

ID = "good"
ROW = struct.pack("<3f", 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Element:
    """How a datatype is written: the raw bytes of two elements, and the typed field and values."""

    raw: bytes
    contents: str  # a field of InferTensorContents; empty: the protocol has none for it
    values: Sequence[Any]


def _numbers(dtype: str, contents: str) -> Element:
    return Element(np.array([1, 2], dtype).tobytes(), contents, [1, 2])


ELEMENTS: Mapping[str, Element] = {
    "BOOL": Element(b"\1\0", "bool_contents", [True, False]),
    "UINT8": _numbers("<u1", "uint_contents"),
    "UINT16": _numbers("<u2", "uint_contents"),
    "UINT32": _numbers("<u4", "uint_contents"),
    "UINT64": _numbers("<u8", "uint64_contents"),
    "INT8": _numbers("<i1", "int_contents"),
    "INT16": _numbers("<i2", "int_contents"),
    "INT32": _numbers("<i4", "int_contents"),
    "INT64": _numbers("<i8", "int64_contents"),
    "FP16": _numbers("<f2", ""),
    "FP32": _numbers("<f4", "fp32_contents"),
    "FP64": _numbers("<f8", "fp64_contents"),
    "BYTES": Element(b"\1\0\0\0a\1\0\0\0b", "bytes_contents", [b"a", b"b"]),
}
"""Each datatype that ONNX shares with the protocol."""

CONTENTS: Mapping[str, Any] = {
    "bool_contents": True,
    "int_contents": 1,
    "int64_contents": 1,
    "uint_contents": 1,
    "uint64_contents": 1,
    "fp32_contents": 1.0,
    "fp64_contents": 1.0,
    "bytes_contents": b"a",
}
"""The fields of InferTensorContents, with a value for each."""


def tensor(name: str, datatype: str, shape: Sequence[int], **contents: Sequence[Any]) -> Any:
    """An input."""
    item = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(item.contents, field).extend(values)
    return item


def rows() -> Any:
    """One row for the model `rows`, raw."""
    return pb.ModelInferRequest(
        model_name="rows",
        id=ID,
        inputs=[tensor("x", "FP32", [1, 3])],
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="y")],
        raw_input_contents=[ROW],
    )


def rows_typed() -> Any:
    """The same, typed."""
    message = rows()
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend([1, 2, 3])
    return message


def texts(text: bytes, shape: Sequence[int] = (2, 1)) -> Any:
    """Whatever bytes as the BYTES input of the model `texts`."""
    return pb.ModelInferRequest(
        model_name="texts",
        id=ID,
        inputs=[tensor("text", "BYTES", shape), tensor("flag", "BOOL", [2, 1])],
        raw_input_contents=[text, b"\1\0"],
    )


def every_type() -> Any:
    """One row of each datatype for the model `every_type`, raw."""
    return pb.ModelInferRequest(
        model_name="every_type",
        id=ID,
        inputs=[tensor(f"in_{name}", name, [1, 2]) for name in ELEMENTS],
        raw_input_contents=[element.raw for element in ELEMENTS.values()],
    )


def typed() -> Any:
    """One row of each datatype that has a typed form, for the model `typed`."""
    return pb.ModelInferRequest(
        model_name="typed",
        id=ID,
        inputs=[
            tensor(f"in_{name}", name, [1, 2], **{element.contents: element.values})
            for name, element in ELEMENTS.items()
            if element.contents
        ],
    )


def slow(steps: int, **parameters: int) -> Any:
    """Counts so many steps, one by one, about a microsecond each; `echo` sleeps as long."""
    message = pb.ModelInferRequest(
        model_name="slow",
        id=ID,
        inputs=[tensor("steps", "INT64", [1])],
        raw_input_contents=[struct.pack("<q", steps)],
    )
    for name, value in parameters.items():
        message.parameters[name].int64_param = value
    message.parameters["echo.latency_ms"].int64_param = steps // 1000
    return message


def goods() -> dict[str, tuple[Any, list[bytes]]]:
    """Every message that others spoil, with the raw contents that its answer holds."""
    raw = [element.raw for element in ELEMENTS.values()]
    with_field = [element.raw for element in ELEMENTS.values() if element.contents]
    text = b"\1\0\0\0a\1\0\0\0b"
    return {
        "rows": (rows(), [ROW]),
        "rows, typed": (rows_typed(), [ROW]),
        "texts": (texts(text), [text, b"\1\0"]),
        "every datatype": (every_type(), raw),
        "every datatype, typed": (typed(), with_field),
        "slow": (slow(1000), [struct.pack("<q", 1000)]),
    }
