"""What is committed of the models."""

from __future__ import annotations

from pathlib import Path

from models.catalog import Kind, ModelSpec, builder
from models.package import model_path

REPOSITORY = Path(__file__).parent.parent / "triton_repo"


def committed_model(spec: ModelSpec) -> bytes:
    """A model's bytes: from `triton_repo/`, or from the wheel where they are not committed."""
    if spec.kind is Kind.PACKAGED:
        return builder(spec).build(spec).onnx
    return model_path(REPOSITORY, spec).read_bytes()
