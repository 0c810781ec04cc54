"""Inference messages that decode, and whose names, lists or parameters are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from benchmarks.hostile.grpc_case import (
    MALFORMED,
    NOT_OFFERED,
    UNKNOWN_NAME,
    Call,
    spoilt,
)
from benchmarks.hostile.grpc_messages import ROW, every_type, rows, tensor, texts

_ODD_NAMES: dict[str, str] = {
    "empty": "",
    "a blank": " ",
    "blanks around": " rows ",
    "upper case": "ROWS",
    "two points": "..",
    "up and away": "../../../etc/passwd",
    "up, quoted": "..%2f..%2frows",
    "up with backslashes": "..\\..\\rows",
    "a slash": "rows/1",
    "an absolute path": "/etc/passwd",
    "a zero inside": "ro\0ws",
    "a zero behind": "rows\0",
    "control characters": "".join(map(chr, range(1, 32))),
    "an escape sequence": "\x1b[2J\x1b[31mrows",
    "a line break and a header": "rows\r\nx-injected: yes",
    "another alphabet": "модель",
    "letters that look alike": "rοws",  # noqa: RUF001 - that is the point
    "right to left": "\u202erows",
    "beyond the first plane": "\U0001f98a" * 10,
    "an unknown alias": "rows@champion",
    "an alias of nothing": "rows@",
    "nothing but an alias": "@",
    "a star": "*",
    "a template": "{{7*7}}%s%n{0}",
    "a command": "$(id)`id`",
    "a thousand letters": "m" * 1000,
    "a hundred thousand letters": "m" * 100_000,
    "three hundred thousand letters of three bytes": "深" * 300_000,
}
_VERSIONS: dict[str, str] = {
    "zero": "0",
    "negative": "-1",
    "one too many": "2",
    "a fraction": "1.0",
    "an exponent": "1e0",
    "with a sign": "+1",
    "a blank around": " 1",
    "a line break": "1\n",
    "a zero behind": "1\0",
    "thirty digits": "9" * 30,
    "ten thousand digits": "9" * 10_000,
    "a hundred thousand letters": "v" * 100_000,
    "a word": "latest",
    "a star": "*",
    "hexadecimal": "0x1",
    "a list": "1,2",
    "a path": "../1",
    "another alphabet's digit": "１",  # noqa: RUF001 - that is the point
    "a superscript": "¹",
}


def cases() -> Iterator[Call]:
    """All of them."""
    yield from _models()
    yield from _inputs()
    yield from _outputs()
    yield from _contents()
    yield from _parameters()
    yield from _extensions()


def _models() -> Iterator[Call]:
    for name, text in _ODD_NAMES.items():
        message = rows()
        message.model_name = text
        yield spoilt("model names", name, message, UNKNOWN_NAME, MALFORMED)
    for name, text in _VERSIONS.items():
        message = rows()
        message.model_version = text
        yield spoilt("model versions", name, message, UNKNOWN_NAME, MALFORMED, mentions="rows")
    message = rows()
    message.id = "i" * 100_000
    yield spoilt("model names", "an id of a hundred thousand letters", message)


def _inputs() -> Iterator[Call]:
    for name, text in _ODD_NAMES.items():
        message = rows()
        message.inputs[0].name = text
        yield spoilt("input names", name, message)
        extra = rows()
        extra.inputs.append(tensor(text, "FP32", [1, 3]))
        extra.raw_input_contents.append(ROW)
        yield spoilt("input names", f"a second input: {name}", extra)
    message = rows()
    message.ClearField("inputs")
    yield spoilt("inputs", "none, but contents", message)
    message.ClearField("raw_input_contents")
    yield spoilt("inputs", "none at all", message)
    for count in (2, 3, 1000):
        again = rows()
        for _ in range(count - 1):
            again.inputs.append(again.inputs[0])
            again.raw_input_contents.append(ROW)
        yield spoilt("inputs", f"the same one {count} times", again, mentions="x")
    bare = pb.ModelInferRequest(model_name="rows", id="bare")
    yield spoilt("inputs", "a model name and nothing else", bare)
    blank = rows()
    blank.inputs[0].Clear()
    yield spoilt("inputs", "an input without anything", blank)
    many = rows()
    for i in range(50_000):
        many.inputs.append(tensor(f"x{i}", "FP32", [1, 3]))
        many.raw_input_contents.append(ROW)
    yield spoilt("inputs", "fifty thousand of them", many)
    for i, item in enumerate(every_type().inputs):
        lacking = every_type()
        del lacking.inputs[i]
        del lacking.raw_input_contents[i]
        name = f"{item.name} is missing"
        yield spoilt("inputs", name, lacking, mentions=item.name)


def _outputs() -> Iterator[Call]:
    for name, text in _ODD_NAMES.items():
        message = rows()
        message.outputs[0].name = text
        yield spoilt("output names", name, message)
    for count in (2, 1000):
        message = rows()
        for _ in range(count - 1):
            message.outputs.append(message.outputs[0])
        yield spoilt("output names", f"the same one {count} times", message, mentions="y")
    message = rows()
    message.outputs[0].name = "x"
    yield spoilt("output names", "an input's", message, mentions="x")
    message = rows()
    for i in range(50_000):
        message.outputs.add(name=f"y{i}")
    yield spoilt("output names", "fifty thousand of them", message)


def _contents() -> Iterator[Call]:
    message = every_type()
    for left in range(len(message.inputs) - 1, -1, -1):
        del message.raw_input_contents[left]
        name = f"{left} for {len(message.inputs)} inputs"
        yield spoilt("raw contents", name, message)
    for extra in (b"", ROW, bytes(1_000_000)):
        message = rows()
        message.raw_input_contents.append(extra)
        name = f"one of {len(extra)} bytes more than inputs"
        yield spoilt("raw contents", name, message)
    message = rows()
    message.raw_input_contents.extend([b""] * 100_000)
    yield spoilt("raw contents", "a hundred thousand empty ones more", message)
    message = every_type()
    message.raw_input_contents.reverse()
    yield spoilt("raw contents", "in another order", message)
    swapped = texts(b"\1\0\0\0a\1\0\0\0b")
    swapped.raw_input_contents.reverse()
    yield spoilt("raw contents", "swapped", swapped)


# How each kind of value is written, and the parameters for which it is wrong.
_VALUES: dict[str, dict[str, Any]] = {
    "a negative number": {"int64_param": -1},
    "the least number": {"int64_param": -(2**63)},
    "more than 63 bits": {"uint64_param": 2**64 - 1},
    "a truth": {"bool_param": True},
    "a text": {"string_param": "soon"},
    "a number as text": {"string_param": "1000000"},
    "a long text": {"string_param": "9" * 100_000},
    "an empty text": {"string_param": ""},
    "a fraction": {"double_param": 0.5},
    "not a number": {"double_param": float("nan")},
    "infinity": {"double_param": float("inf")},
    "no value": {},
}


def _parameters() -> Iterator[Call]:
    for key in ("timeout", "priority"):
        for name, value in _VALUES.items():
            message = rows()
            message.parameters[key].CopyFrom(pb.InferParameter(**value))
            yield spoilt("parameters", f"{key} is {name}", message, mentions=key)
    message = rows()
    message.parameters["mine"].uint64_param = 2**63
    yield spoilt("parameters", "one of our own takes more than 63 bits", message, mentions="mine")
    for key, value in (
        ("sequence_start", {"string_param": "yes"}),
        ("sequence_end", {"int64_param": 7}),
        ("sequence_id", {"double_param": 1.5}),
        ("sequence_id", {"bool_param": True}),
    ):
        message = rows()
        message.parameters[key].CopyFrom(pb.InferParameter(**value))
        kind = next(iter(value))
        yield spoilt("parameters", f"{key} as {kind}", message, MALFORMED, NOT_OFFERED)


def _extensions() -> Iterator[Call]:
    shared = {
        "shared_memory_region": pb.InferParameter(string_param="region"),
        "shared_memory_byte_size": pb.InferParameter(int64_param=12),
        "shared_memory_offset": pb.InferParameter(int64_param=0),
    }
    region = {"shared_memory_region": shared["shared_memory_region"]}
    ways = {
        "all of it": shared,
        "the region alone": region,
        "of a negative size": shared
        | {"shared_memory_byte_size": pb.InferParameter(int64_param=-1)},
        "an offset of 63 bits": shared
        | {"shared_memory_offset": pb.InferParameter(int64_param=2**63 - 1)},
        "the region as a number": {"shared_memory_region": pb.InferParameter(int64_param=1)},
    }
    for name, parameters in ways.items():
        for side in ("input", "output"):
            for raw in (True, False):
                message = rows()
                if not raw:
                    message.ClearField("raw_input_contents")
                item = message.inputs[0] if side == "input" else message.outputs[0]
                for key, value in parameters.items():
                    item.parameters[key].CopyFrom(value)
                text = f"{side}, {name}, {'with' if raw else 'without'} contents"
                yield spoilt("shared memory", text, message, MALFORMED, NOT_OFFERED)
    for name, value in (
        ("3", pb.InferParameter(int64_param=3)),
        ("-1", pb.InferParameter(int64_param=-1)),
        ("a text", pb.InferParameter(string_param="3")),
    ):
        message = rows()
        message.outputs[0].parameters["classification"].CopyFrom(value)
        yield spoilt("classification", name, message, MALFORMED, NOT_OFFERED)
