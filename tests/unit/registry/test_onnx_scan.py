"""A model's file is looked into before it is opened."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from service.registry.onnx_scan import UnreadableError, external_tensors
from tests.committed import COMMITTED, committed_model


def weights(name: str = "w", location: str | None = None) -> onnx.TensorProto:
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0])
    if location is not None:
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    return tensor


def model(tensors: list[onnx.TensorProto], nodes: list[onnx.NodeProto]) -> memoryview:
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    return memoryview(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize("name", COMMITTED)
def test_our_models_keep_everything_in_one_file(name: str) -> None:
    """Real graphs, with strings, trees and convolutions, have nothing outside."""
    assert external_tensors(memoryview(committed_model(name))) == 0


def test_weights_in_another_file_are_found_wherever_they_are() -> None:
    """In the graph, in an attribute, in a branch, in a sparse tensor, in a function."""
    outside = weights("o", "../../etc/passwd")
    assert external_tensors(model([weights(), outside], [])) == 1
    constant = helper.make_node("Constant", [], ["c"], value=outside)
    assert external_tensors(model([], [constant])) == 1
    branch = helper.make_graph([constant], "b", [], [], [outside])
    conditional = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    assert external_tensors(model([], [conditional])) == 4
    sparse = onnx.SparseTensorProto(values=outside, dims=[1])
    assert external_tensors(model([], [helper.make_node("C", [], ["c"], sparse_value=sparse)])) == 1
    whole = onnx.ModelProto()
    whole.graph.name = "g"
    whole.functions.add(name="f").node.append(constant)
    assert external_tensors(memoryview(whole.SerializeToString())) == 1


def test_a_location_alone_is_enough() -> None:
    """Whichever of the two fields says so: readers differ in which they believe."""
    tensor = weights()
    tensor.external_data.add(key="location", value="x")
    assert external_tensors(model([tensor], [])) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no graph"),
        (b"not a model", "wire type 6"),
        (b"\x3a\xff\xff\xff\xff\x0f", "middle of a field"),
        (b"\x3a", "middle of a number"),
        (b"\xff" * 11, "longer than 64 bits"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_what_is_no_model_is_refused(content: bytes, reason: str) -> None:
    """A reason instead of a crash, whatever the bytes are."""
    with pytest.raises(UnreadableError, match=reason):
        external_tensors(memoryview(content))


def within(number: int, message: bytes) -> bytes:
    """A message as a field of another, on the wire."""
    length, written = len(message), b""
    while length > 127:
        written += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + written + bytes([length]) + message


@pytest.mark.parametrize(("graphs", "sound"), [(15, True), (40, False)])
def test_depth_is_bounded(graphs: int, sound: bool) -> None:  # noqa: FBT001 - a column of the table
    """Graphs within graphs beyond sense are refused, not followed."""
    graph = b""
    for _ in range(graphs):
        graph = within(1, within(5, within(6, graph)))  # of a node's attribute
    content = memoryview(within(7, graph))
    if sound:
        assert external_tensors(content) == 0
        return
    with pytest.raises(UnreadableError, match="nested more than"):
        external_tensors(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_number_or_a_refusal(content: bytes) -> None:
    """Nothing else is raised."""
    try:
        assert external_tensors(memoryview(content)) >= 0
    except UnreadableError:
        return
