"""Lupine: a model-serving gateway that speaks the Open Inference Protocol in front of Triton."""

__version__ = "0.1.0"  # as in pyproject.toml; where a bento runs, the project is not installed
