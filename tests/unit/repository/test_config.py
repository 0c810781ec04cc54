from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.errors import ConfigurationError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Policy, Servable
from service.repository import config

FULL = """
name: "m"
backend: "onnxruntime"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }
input { name: "t" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "y" data_type: TYPE_BF16 dims: [ 2 ] }
version_policy { specific { versions: [ 1, 3 ] } }
instance_group { count: 2 kind: KIND_CPU }
dynamic_batching { max_queue_delay_microseconds: 100 }
model_warmup { name: "w" batch_size: 1 inputs { key: "x" value {
  data_type: TYPE_FP32 dims: [ 5, 3 ] zero_data: true } } }
parameters { key: "lupine.priority" value { string_value: "3" } }
"""


def read(folder: Path, text: str | bytes, name: str = "m") -> dict[str, Any]:
    model = folder / name
    model.mkdir(exist_ok=True)
    (model / "config.pbtxt").write_bytes(text.encode() if isinstance(text, str) else text)
    return config.read(model)


def refused_read(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, text)
    assert "'m'" in refused.value.message
    return refused.value.message


def parameters(**given: str) -> str:
    return "".join(
        f'parameters {{ key: "lupine.{k}" value {{ string_value: "{v}" }} }}\n'
        for k, v in given.items()
    )


def described(folder: Path, text: str, version: str = "1") -> Servable:
    return config.servable(read(folder, text), version)


def refused_servable(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        described(folder, text)
    assert "'m'" in refused.value.message
    return refused.value.message


# ------------------------------------------------------------------ reading


def test_a_config_reads_as_tritons_json(tmp_path: Path) -> None:
    """Field names as in the file, and 64-bit numbers as numbers, however deep."""
    found = read(tmp_path, FULL)
    assert found["input"][0]["dims"] == [-1, 3]
    assert found["version_policy"]["specific"]["versions"] == [1, 3]
    assert found["dynamic_batching"]["max_queue_delay_microseconds"] == 100
    assert found["model_warmup"][0]["inputs"]["x"]["dims"] == [5, 3]
    assert found["parameters"]["lupine.priority"] == {"string_value": "3"}


def test_defaults_are_written_out(tmp_path: Path) -> None:
    """As Triton's HTTP does, so that nobody has to know them."""
    found = read(tmp_path, "")
    assert found["max_batch_size"] == 0
    assert found["input"] == []


def test_a_missing_file_is_an_empty_config(tmp_path: Path) -> None:
    """The model is named as its folder is."""
    (tmp_path / "m").mkdir()
    assert config.read(tmp_path / "m") == read(tmp_path, "")
    assert config.read(tmp_path / "m")["name"] == "m"


def test_a_config_for_another_model_is_refused_with_both_names(tmp_path: Path) -> None:
    """A copied folder says so."""
    assert "names the model 'other', its folder is 'm'" in refused_read(tmp_path, 'name: "other"')


@pytest.mark.parametrize("text", ["max_batch_size: x", "no_such_field: 1", "input {", b"\xff\xfe"])
def test_a_file_that_is_no_config_is_refused_with_its_place(
    tmp_path: Path, text: str | bytes
) -> None:
    """As the parser tells it."""
    assert "config.pbtxt of 'm': " in refused_read(tmp_path, text)


def test_an_enormous_file_is_refused(tmp_path: Path) -> None:
    """Before it is read."""
    assert "over 1 MiB" in refused_read(tmp_path, "#" * ((1 << 20) + 1))


# ------------------------------------------------------------------ the servable


def test_a_config_describes_its_servable(tmp_path: Path) -> None:
    """Inputs and outputs in their order, the batch axis in front."""
    found = described(tmp_path, FULL, "3")
    assert (found.name, found.version, found.platform) == ("m", "3", "onnxruntime")
    assert found.max_batch_size == 8
    assert [(s.name, s.datatype, s.shape) for s in found.inputs.values()] == [
        ("x", Datatype.FP32, (-1, -1, 3)),
        ("t", Datatype.BYTES, (-1, 1)),
    ]
    assert found.outputs["y"].datatype is Datatype.BF16
    assert found.policy == Policy(priority=3)


def test_without_a_batch_axis_the_dims_are_the_shape(tmp_path: Path) -> None:
    """`max_batch_size: 0` adds nothing."""
    found = described(tmp_path, 'input { name: "x" data_type: TYPE_INT8 dims: [ 4 ] }')
    assert found.inputs["x"].shape == (4,)


def test_an_optional_input_is_optional(tmp_path: Path) -> None:
    """As the config says."""
    text = 'input { name: "x" data_type: TYPE_INT8 dims: [ 4 ] optional: true }'
    assert described(tmp_path, text).inputs["x"].optional


@pytest.mark.parametrize("datatype", [d for d in Datatype if d is not Datatype.BYTES])
def test_every_datatype_of_the_protocol_has_its_type(tmp_path: Path, datatype: Datatype) -> None:
    """TYPE_ and the protocol's name."""
    text = f'input {{ name: "x" data_type: TYPE_{datatype.name} dims: [ 1 ] }}'
    assert described(tmp_path, text).inputs["x"].datatype is datatype


def test_an_input_without_a_type_is_refused_by_name(tmp_path: Path) -> None:
    """TYPE_INVALID is what a missing one reads as."""
    text = refused_servable(tmp_path, 'input { name: "x" dims: [ 1 ] }')
    assert "input 'x'" in text
    assert "TYPE_INVALID" in text


def test_a_batch_size_below_zero_is_refused(tmp_path: Path) -> None:
    """No request could ever fit it."""
    assert "max_batch_size is -1" in refused_servable(tmp_path, "max_batch_size: -1")


# ------------------------------------------------------------------ policy


def test_the_policy_travels_with_the_model(tmp_path: Path) -> None:
    """Every `lupine.*` parameter that there is."""
    text = parameters(batching="off", default_timeout_ms="1500", priority="2", slo_p99_ms="33.3")
    assert described(tmp_path, text).policy == Policy(
        batching="off", default_timeout=1.5, priority=2, slo_p99=0.0333
    )


def test_a_model_that_says_nothing_has_the_default_policy(tmp_path: Path) -> None:
    """Batched here, 30 s, first priority, no SLO."""
    assert described(tmp_path, "").policy == Policy()
    assert Policy() == Policy(batching="gateway", default_timeout=30.0, priority=1, slo_p99=None)


@pytest.mark.parametrize(
    "scheduling",
    ["sequence_batching { }", 'ensemble_scheduling { step { model_name: "a" model_version: 1 } }'],
)
def test_a_model_that_keeps_state_is_not_batched_here(tmp_path: Path, scheduling: str) -> None:
    """Unless it says so itself."""
    assert described(tmp_path, scheduling).policy.batching == "off"
    asked = scheduling + parameters(batching="triton")
    assert described(tmp_path, asked).policy.batching == "triton"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batching", "on"),
        ("batching", ""),
        ("default_timeout_ms", "soon"),
        ("default_timeout_ms", "0"),
        ("default_timeout_ms", "-1"),
        ("default_timeout_ms", "nan"),
        ("default_timeout_ms", "inf"),
        ("priority", "0"),
        ("priority", "1.5"),
        ("priority", "high"),
        ("slo_p99_ms", "0"),
        ("slo_p99_ms", "fast"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_by_key_and_value(
    tmp_path: Path, key: str, value: str
) -> None:
    """And with what is expected."""
    text = refused_servable(tmp_path, parameters(**{key: value}))
    assert f"lupine.{key} is {value!r}" in text
    assert "is expected" in text


def test_parameters_of_others_are_left_alone(tmp_path: Path) -> None:
    """Backends have their own."""
    text = 'parameters { key: "batching" value { string_value: "x" } }'
    assert described(tmp_path, text).policy == Policy()


# ------------------------------------------------------------------ versions


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ("", [9]),
        ("version_policy { latest { } }", [9]),
        ("version_policy { latest { num_versions: 2 } }", [3, 9]),
        ("version_policy { latest { num_versions: 7 } }", [1, 3, 9]),
        ("version_policy { all { } }", [1, 3, 9]),
        ("version_policy { specific { versions: [ 9, 1 ] } }", [1, 9]),
        ("version_policy { specific { versions: [ 1, 1 ] } }", [1]),
    ],
)
def test_the_version_policy_chooses_as_triton_does(
    tmp_path: Path, policy: str, chosen: list[int]
) -> None:
    """The latest one where it says nothing."""
    assert config.chosen_versions(read(tmp_path, policy), [1, 3, 9]) == chosen


def test_a_specific_version_that_is_not_there_is_refused_by_number(tmp_path: Path) -> None:
    """Beside those that are."""
    written = read(tmp_path, "version_policy { specific { versions: [ 1, 7 ] } }")
    with pytest.raises(ConfigurationError, match=r"asks for \[7\], there is \[1, 3\]"):
        config.chosen_versions(written, [1, 3])


def test_a_folder_without_versions_has_none_to_choose(tmp_path: Path) -> None:
    """Nor does it invent one."""
    assert config.chosen_versions(read(tmp_path, ""), []) == []
