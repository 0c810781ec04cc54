"""File identification: bytes to the `magika` model's input, its probabilities to a file type.

Answers as `magika.Magika().identify_bytes` does in its default mode, "high confidence". Written
from the described behaviour: the documentation of Magika (https://securityresearch.google/magika,
"How Magika works") and the model's own configuration, which `magika_types.json` carries.

1. Empty content is `empty`. Fewer than 8 bytes, or fewer than 8 in the first block once leading
   whitespace is gone, are too little for the model: `txt` if they are UTF-8, else `unknown`.
2. The model sees 2,048 numbers: the first 1,024 bytes after leading whitespace, and the last 1,024
   before trailing whitespace, both looked for within one block of 4,096 bytes; 256 stands for "no
   byte", after a short head and before a short tail.
3. The likeliest label wins if its probability reaches the label's threshold; else only whether it
   is text is believed: `txt` or `unknown`. Two labels go by another name (`randomtxt` is `txt`).

Pure: what runs the model is somebody else's business.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import msgspec
import numpy as np

MODEL = "magika"
INPUT = "bytes"  # INT32 [-1, 2048]
OUTPUT = "target_label"  # FP32 [-1, 214]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """A file's type. `score`, 0..1, is the model's probability, or 1.0 where no model was asked."""

    label: str
    score: float
    mime_type: str
    group: str
    description: str
    extensions: tuple[str, ...]  # without the dot
    is_text: bool


class _FileType(msgspec.Struct, frozen=True):
    mime_type: str
    group: str
    description: str
    extensions: tuple[str, ...]
    is_text: bool


class _FileTypes(msgspec.Struct, frozen=True):
    """`magika_types.json`; `python -m models record magika` writes it."""

    head_bytes: int
    tail_bytes: int
    block_bytes: int
    padding: int
    least_bytes: int
    threshold: float
    thresholds: dict[str, float]
    renamed: dict[str, str]
    labels: tuple[str, ...]
    types: dict[str, _FileType]


@functools.cache
def _file_types() -> _FileTypes:
    text = resources.files("service.apis").joinpath("magika_types.json").read_bytes()
    return msgspec.json.decode(text, type=_FileTypes)


def features(content: bytes) -> np.ndarray[Any, Any]:
    """What the model sees of a file: INT32 [1, 2048], each 0..255, or 256 for "no byte"."""
    known = _file_types()
    row = np.full((1, known.head_bytes + known.tail_bytes), known.padding, np.int32)
    head = np.frombuffer(_stripped_head(content), np.uint8)[: known.head_bytes]
    tail = np.frombuffer(content[-known.block_bytes :].rstrip(), np.uint8)[-known.tail_bytes :]
    row[0, : len(head)] = head
    row[0, row.shape[1] - len(tail) :] = tail
    return row


def without_model(content: bytes) -> Identification | None:
    """The answer where there is too little content to ask the model; None where it has to be."""
    known = _file_types()
    if not content:
        return _identified("empty", 1.0)
    if len(content) >= known.least_bytes and len(_stripped_head(content)) >= known.least_bytes:
        return None
    try:
        content[: known.block_bytes].decode()
    except UnicodeDecodeError:
        return _identified("unknown", 1.0)
    return _identified("txt", 1.0)


def decide(content: bytes, probabilities: np.ndarray[Any, Any] | None = None) -> Identification:
    """The type of a file.

    Args:
        content: the whole file.
        probabilities: the model's answer to `features(content)`, FP32 [214] or [1, 214]; not
            looked at, and so not needed, where `without_model(content)` has the answer.

    Raises:
        ValueError: the probabilities are needed and missing, or are not one for each label.
    """
    settled = without_model(content)
    if settled is not None:
        return settled
    known = _file_types()
    if probabilities is None or probabilities.size != len(known.labels):
        size = 0 if probabilities is None else probabilities.size
        raise ValueError(f"{len(known.labels)} probabilities are expected, got {size}")
    likeliest = int(probabilities.argmax())
    score = float(probabilities.flat[likeliest])
    guess = known.labels[likeliest]
    label = known.renamed.get(guess, guess)
    if not score >= known.thresholds.get(guess, known.threshold):
        label = "txt" if known.types[label].is_text else "unknown"
    return _identified(label, score)


def _stripped_head(content: bytes) -> bytes:
    return content[: _file_types().block_bytes].lstrip()


def _identified(label: str, score: float) -> Identification:
    found = _file_types().types[label]
    return Identification(
        label=label,
        score=score,
        mime_type=found.mime_type,
        group=found.group,
        description=found.description,
        extensions=found.extensions,
        is_text=found.is_text,
    )
