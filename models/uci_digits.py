"""The UCI handwritten digits (test set of 1,797 images) that scikit-learn ships, and their split.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998, doi 10.24432/C50P49, licence CC BY 4.0; `sklearn.datasets.load_digits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from models.manifest import sha256
from models.specification import ModelError

# Of the counts of ink and the labels, as they came.
RAW_SHA256 = "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443"
_FULL_INK = 16.0  # the dataset counts ink in 0..16
_HELD_OUT = 0.2
_SPLIT_SEED = 2


@dataclass(frozen=True, slots=True)
class Digits:
    """`images` FP32 [n, 1, 8, 8] scaled to 0..1, `labels` INT64 [n] in 0..9."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]


def load() -> tuple[Digits, Digits]:
    """The training split (1,437 images) and the held-out one (360), stratified and always alike.

    Raises:
        ModelError: scikit-learn ships other data than this was written for.
    """
    data, target = load_digits(return_X_y=True)
    digest = sha256(data.astype("<f8").tobytes() + target.astype("<i8").tobytes())
    if digest != RAW_SHA256:
        raise ModelError(
            f"the UCI digits that scikit-learn ships have sha256 {digest}, {RAW_SHA256} is expected"
        )
    images = (data.reshape(-1, 1, 8, 8) / _FULL_INK).astype(np.float32)
    labels = target.astype(np.int64)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images, labels, test_size=_HELD_OUT, stratify=labels, random_state=_SPLIT_SEED
    )
    return Digits(seen, seen_labels), Digits(unseen, unseen_labels)
