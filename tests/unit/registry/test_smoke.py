"""A model's first run happens in a process that may die of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.harness import adding
from service.registry import smoke
from service.registry.refused import RefusedVersionError
from tests.graphs import column_totals, greeting


def tried(tmp_path: Path, content: bytes, **config: Any) -> dict[str, Any]:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    wanted = {"name": "m", "backend": "onnxruntime", "max_batch_size": 8, **config}
    return smoke.try_out(path, wanted, seconds=20, memory_bytes=8 << 30)


def test_what_runs_is_described(tmp_path: Path) -> None:
    """The configuration comes back complete; a graph that cannot batch gets no batches."""
    config = tried(tmp_path, adding.model(1.0))
    assert [one["name"] for one in config["input"] + config["output"]] == ["x", "y"]
    assert config["max_batch_size"] == 8
    assert tried(tmp_path, column_totals())["max_batch_size"] == 0
    assert tried(tmp_path, greeting())["input"][0]["data_type"] == "TYPE_STRING"


def test_what_does_not_run_is_refused(tmp_path: Path) -> None:
    """The model's own failure is the reason."""
    with pytest.raises(RefusedVersionError, match="its trial run failed: ONNX Runtime cannot open"):
        tried(tmp_path, b"no model")
    wrong = [{"name": "z", "data_type": "TYPE_FP32", "dims": [1]}]
    right = [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}]
    with pytest.raises(RefusedVersionError, match="names input 'z'"):
        tried(tmp_path, adding.model(1.0), input=wrong, output=right)


def greedy(bytes_wanted: int) -> bytes:
    """A model that makes a tensor of so many bytes out of nothing."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [bytes_wanted // 4])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    edges = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", edges[:1], edges[1:], [shape])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def test_memory_is_limited(tmp_path: Path) -> None:
    """A model that wants more than it may have is refused; nothing else is disturbed."""
    path = tmp_path / "model.onnx"
    path.write_bytes(greedy(64 << 30))
    with pytest.raises(RefusedVersionError, match=r"its trial run (failed|was ended)"):
        smoke.try_out(path, {"name": "m"}, seconds=20, memory_bytes=4 << 30)


def endless() -> bytes:
    """A model that loops without end."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["cond_out"]),
            helper.make_node("Identity", ["v"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    node = helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)
    edges = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in ("x", "y")]
    graph = helper.make_graph([node], "g", edges[:1], edges[1:], [true])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def test_time_is_limited(tmp_path: Path) -> None:
    """A model that never ends is ended."""
    path = tmp_path / "model.onnx"
    path.write_bytes(endless())
    with pytest.raises(RefusedVersionError, match=r"ended by signal|took more than"):
        smoke.try_out(path, {"name": "m"}, seconds=3, memory_bytes=8 << 30)
