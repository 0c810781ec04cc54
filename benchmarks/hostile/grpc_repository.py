"""The models that the bad calls are aimed at: those of HTTP, every datatype, and a slow one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hostile import repository
from benchmarks.hostile.grpc_messages import ELEMENTS

_WORDS = {
    "FP16": "float16",
    "FP32": "float",
    "FP64": "double",
    "BYTES": "string",
}
_SLOW = """graph (int64[1] steps) => (int64[1] done) {
    yes = Constant <value = bool {1}> ()
    zero = Constant <value = int64[1] {0}> ()
    done = Loop (steps, yes, zero) <body = body (int64 i, bool c, int64[1] n)
           => (bool go, int64[1] next) {
      go = Identity (c)
      one = Constant <value = int64[1] {1}> ()
      next = Add (n, one)
    }>
}"""


def build(root: Path) -> Path:
    """Write the repository, and return its folder."""
    repository.build(root)
    _every_type(root, "every_type", list(ELEMENTS))
    _every_type(root, "typed", [name for name, e in ELEMENTS.items() if e.contents])
    fields = (
        "input { name: 'steps' data_type: TYPE_INT64 dims: 1 }"
        "output { name: 'done' data_type: TYPE_INT64 dims: 1 }"
    )
    repository.write(root, "slow", _SLOW, fields, batch=0)
    return root


def _every_type(root: Path, name: str, datatypes: list[str]) -> None:
    """Each `out_X` is `in_X`, two elements a row."""
    words = {t: _WORDS.get(t, t.lower()) for t in datatypes}
    inputs = ", ".join(f"{word}[n, 2] in_{t}" for t, word in words.items())
    outputs = ", ".join(f"{word}[n, 2] out_{t}" for t, word in words.items())
    nodes = "\n".join(f"out_{t} = Identity (in_{t})" for t in datatypes)
    fields = "".join(
        f"{side} {{ name: '{prefix}_{t}' data_type: TYPE_{_triton(t)} dims: 2 }}\n"
        for side, prefix in (("input", "in"), ("output", "out"))
        for t in datatypes
    )
    graph = f"graph ({inputs}) => ({outputs}) {{ {nodes} }}"
    repository.write(root, name, graph, fields, batch=8)


def _triton(datatype: str) -> str:
    return "STRING" if datatype == "BYTES" else datatype
