"""What is committed of the models."""

from __future__ import annotations

from pathlib import Path

from models import manifest
from models.catalog import NAMES, builder, find
from models.package import model_path

REPOSITORY = Path(__file__).parent.parent / "triton_repo"
MADE_ON_DEMAND = ("resnet18", "silero_vad")  # too large to commit: `lupine export` makes them
PACKAGED = tuple(manifest.packaged())
COMMITTED = tuple(name for name in NAMES if name not in (*MADE_ON_DEMAND, *PACKAGED))
SERVED = tuple(name for name in NAMES if name not in MADE_ON_DEMAND)  # after `make setup`


def committed_model(name: str) -> bytes:
    """A model's bytes: from `triton_repo/`, or from the wheel where they are not committed."""
    if name in PACKAGED:
        return builder(name).build().onnx
    return model_path(REPOSITORY, find(name)).read_bytes()
