"""The tensor datatypes of the Open Inference Protocol v2 and their NumPy twins.

Source of the names and sizes: the "Tensor Data Types" table of the Open Inference Protocol
(required_api.md, KServe); BF16 is Triton's addition to it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np

from service.errors import InvalidRequestError


class Datatype(Enum):
    """A tensor's element type: OIP name, NumPy dtype and bytes an element (None for BYTES).

    BYTES elements are Python `bytes` in an object array; BF16 is `ml_dtypes.bfloat16`.
    """

    BOOL = np.dtype(np.bool_)
    UINT8 = np.dtype(np.uint8)
    UINT16 = np.dtype(np.uint16)
    UINT32 = np.dtype(np.uint32)
    UINT64 = np.dtype(np.uint64)
    INT8 = np.dtype(np.int8)
    INT16 = np.dtype(np.int16)
    INT32 = np.dtype(np.int32)
    INT64 = np.dtype(np.int64)
    FP16 = np.dtype(np.float16)
    FP32 = np.dtype(np.float32)
    FP64 = np.dtype(np.float64)
    BF16 = np.dtype(ml_dtypes.bfloat16)
    BYTES = np.dtype(np.object_)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.itemsize: int | None = None if dtype.hasobject else dtype.itemsize

    @property
    def is_float(self) -> bool:
        """Whether elements are numbers with a fraction."""
        return self in _FLOATS

    @classmethod
    def named(cls, name: object) -> Datatype:
        """The datatype of an OIP name such as `FP32`.

        Raises:
            InvalidRequestError: no datatype has this name.
        """
        found = cls.__members__.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(cls.__members__)
            raise InvalidRequestError(f"unknown datatype {name!r:.60}: one of {known} is expected")
        return found


_FLOATS = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16})
