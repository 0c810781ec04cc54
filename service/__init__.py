"""Lupine: a model-serving gateway that speaks the Open Inference Protocol in front of Triton."""
