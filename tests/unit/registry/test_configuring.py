"""The configuration of a synced model, and what makes two versions the same model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service.registry import configuring
from service.registry.refused import RefusedVersionError

X = {"name": "x", "data_type": "TYPE_FP32", "dims": [3]}
Y = {"name": "y", "data_type": "TYPE_FP32", "dims": [3]}
WHOLE: dict[str, Any] = {
    "name": "m", "backend": "onnxruntime", "max_batch_size": 8, "input": [X], "output": [Y]
}  # fmt: skip


def test_versions_are_named_one_by_one() -> None:
    """Exactly these are loaded, whatever else lies in the folder."""
    text = configuring.text(WHOLE, ["10", "2"])
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert list(config.version_policy.specific.versions) == [2, 10]
    assert (config.name, config.backend, config.max_batch_size) == ("m", "onnxruntime", 8)


def test_tags_become_policy(tmp_path: Path) -> None:
    """What a version's tags say of batch and policy wins over what it ships."""
    shipped = tmp_path / "config.pbtxt"
    shipped.write_text(
        'max_batch_size: 4 parameters { key: "lupine.priority" value { string_value: "2" } }'
    )
    tags = {"lupine.max_batch_size": "16", "lupine.slo_p99_ms": "50", "lupine.serve": "true"}
    config = configuring.wanted("m", "model.onnx", tags, shipped, 64)
    assert config["max_batch_size"] == 16
    assert {k: v["string_value"] for k, v in config["parameters"].items()} == {
        "lupine.priority": "2",
        "lupine.slo_p99_ms": "50",
    }
    assert configuring.wanted("m", "model.onnx", {}, None, 64)["max_batch_size"] == 64


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"parameters": {"lupine.priority": {"string_value": "3"}}}, ""),
        ({"input": [{**X, "dims": [4]}]}, r"its input is x TYPE_FP32 \[4\], that of the served"),
        ({"input": [{**X, "optional": False}]}, ""),
        ({"output": [Y, {**Y, "name": "z"}]}, "its output is y TYPE_FP32"),
        ({"max_batch_size": 0}, "its max_batch_size is None"),
        ({"backend": "tensorrt"}, "its backend is tensorrt"),
    ],
)
def test_what_makes_another_signature(change: dict[str, Any], told: str) -> None:
    """Names, types, shapes, batch and backend; not policy, and not how defaults are written."""
    said = configuring.signature_change(WHOLE, {**WHOLE, **change})
    assert re.match(told or "$", said)


def test_a_policy_that_cannot_be_used_is_refused() -> None:
    """With the gateway's own words."""
    bad = {**WHOLE, "parameters": {"lupine.batching": {"string_value": "sometimes"}}}
    with pytest.raises(RefusedVersionError, match=r"lupine\.batching is 'sometimes'"):
        configuring.text(bad, ["1"])
