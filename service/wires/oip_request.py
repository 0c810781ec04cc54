"""What both wires ask of an inference request: its bounds, and the parameters that we read.

Source: the Open Inference Protocol v2 (KServe) and Triton's extension for request parameters
(protocol/extension_parameters.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from service.errors import InvalidRequestError, UnsupportedError
from service.protocol import deadline
from service.protocol.messages import Parameter

MAX_RANK = 32
"""Axes a tensor may have; NumPy's own bound is 64."""
MAX_SIZE = 2**31 - 1
"""Elements along one axis."""
MAX_NAME = 256
"""Characters in the name of an input or output."""
MAX_ID = 1024
"""Characters in a request's id."""
MAX_TENSORS = 1024
"""Inputs of a request, and outputs that it names."""
MAX_PARAMETERS = 256
"""Parameters of a request."""

Given = Mapping[str, Parameter | None]

EMPTY_FINAL = "triton_enable_empty_final_response"
"""Asks for one more answer, without outputs, when a decoupled model has no more to say."""

_RESERVED = frozenset({"timeout", "priority", "binary_data_output", EMPTY_FINAL})
_SEQUENCE = {
    "sequence_id": ((int, str), "a number or a text"),
    "sequence_start": ((bool,), "true or false"),
    "sequence_end": ((bool,), "true or false"),
}
_NOT_OFFERED = {
    "shared_memory_region": "shared memory between client and gateway",
    "classification": "the classification extension",
}


def passed_on(given: Given) -> dict[str, Parameter]:
    """The request's parameters that are the model's to read.

    Raises:
        InvalidRequestError: there are too many, or one takes more than 64 bits.
        UnsupportedError: one asks for what is not offered.
    """
    check_count("parameters", len(given), MAX_PARAMETERS)
    refuse_what_is_not_offered(given, "the request")
    for key, (kinds, expected) in _SEQUENCE.items():
        value = given.get(key)
        if value is not None and type(value) not in kinds:
            raise InvalidRequestError(f"parameter {key!r} is {value!r:.60}: {expected} is expected")
    for key, value in given.items():
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise InvalidRequestError(f"parameter {key!r:.300}: {value} takes more than 64 bits")
    return {k: v for k, v in given.items() if k not in _RESERVED and v is not None}


def check_count(what: str, count: int, limit: int) -> None:
    """Look at how many there are, before looking at each.

    Raises:
        InvalidRequestError: too many.
    """
    if count > limit:
        raise InvalidRequestError(f"the request has {count} {what}, at most {limit} are taken")


def refuse_what_is_not_offered(given: Mapping[str, Any], where: str) -> None:
    """Look for parameters whose extension the gateway does not have.

    Raises:
        UnsupportedError: there is one.
    """
    for key, what in _NOT_OFFERED.items():
        if key in given:
            raise UnsupportedError(f"{where}: parameter {key!r}: {what} is not offered here")


def whole(given: Given, key: str) -> int:
    """A whole number of at least 0; 0 where it is absent.

    Raises:
        InvalidRequestError: it is something else.
    """
    value = given.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidRequestError(
            f"parameter {key!r} is {value!r:.60}: a whole number of at least 0 is expected"
        )
    return value


def truth(given: Given, key: str, *, default: bool) -> bool:
    """True or false; `default` where it is absent.

    Raises:
        InvalidRequestError: it is something else.
    """
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"parameter {key!r} is {value!r:.60}: true or false is expected")
    return value


def timeout_of(given: Given) -> float | None:
    """The parameter `timeout` (microseconds) in seconds; None where there is none.

    Raises:
        InvalidRequestError: it is no whole number.
    """
    micros = whole(given, "timeout")
    return micros / 1e6 if micros else None


def deadline_of(*timeouts: float | None) -> float:
    """The deadline that the earliest of the timeouts (seconds) sets; infinite without any."""
    if timeouts == (None, None):
        return math.inf
    return deadline.earliest(*timeouts, now=time.monotonic())


def output_names(names: Sequence[str]) -> tuple[str, ...]:
    """The outputs asked for.

    Raises:
        InvalidRequestError: one is named twice.
    """
    if len(set(names)) != len(names):
        raise InvalidRequestError(f"outputs are named twice: {list(names)}")
    return tuple(names)
