from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from service.engines import onnx
from service.engines.in_process import Stop
from service.errors import EngineError, InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Servable, Tensor
from service.repository import config as model_config
from tests import graphs
from tests.unit.doubles import fp32

ELEMENTS = {
    Datatype.BOOL: TensorProto.BOOL,
    Datatype.UINT8: TensorProto.UINT8,
    Datatype.UINT16: TensorProto.UINT16,
    Datatype.UINT32: TensorProto.UINT32,
    Datatype.UINT64: TensorProto.UINT64,
    Datatype.INT8: TensorProto.INT8,
    Datatype.INT16: TensorProto.INT16,
    Datatype.INT32: TensorProto.INT32,
    Datatype.INT64: TensorProto.INT64,
    Datatype.FP16: TensorProto.FLOAT16,
    Datatype.FP32: TensorProto.FLOAT,
    Datatype.FP64: TensorProto.DOUBLE,
}


class Opened:
    """A model as the engine opened it."""

    def __init__(self, root: Path, graph: bytes | None, config: str = "") -> None:
        folder = root / "m" / "1"
        folder.mkdir(parents=True)
        (folder.parent / "config.pbtxt").write_text(config)
        if graph is not None:
            (folder / "model.onnx").write_bytes(graph)
        complete, self.model = onnx.opener()(model_config.read(folder.parent), folder)
        self.servable: Servable = model_config.servable(complete, "1")

    def run(self, *outputs: str, **inputs: Tensor) -> Mapping[str, Tensor]:
        """The named outputs, or all."""
        return self.model.run(inputs, outputs or tuple(self.servable.outputs), {}, Stop())


def texts(*values: bytes) -> Tensor:
    array = np.empty((len(values), 1), np.object_)
    array[:, 0] = values
    return Tensor(Datatype.BYTES, array)


def rows_of(name: str, data_type: str) -> str:
    return (
        f'max_batch_size: 4 input {{ name: "{name}" data_type: {data_type} dims: [ 3 ] }}'
        'output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] }'
    )


def refusal(root: Path, graph: bytes | None, config: str = "") -> str:
    with pytest.raises(InvalidRequestError) as refused:
        Opened(root, graph, config)
    assert "'m'" in refused.value.message
    return refused.value.message


def test_a_graph_alone_is_a_model(tmp_path: Path) -> None:
    """What the config leaves out is taken from the graph, as Triton completes it."""
    opened = Opened(tmp_path, graphs.identity())
    assert opened.servable.max_batch_size == 4
    assert opened.servable.inputs["x"].shape == (-1, 3)
    assert opened.servable.outputs["y"].datatype is Datatype.FP32
    assert opened.run(x=fp32([[1, 2, 3]]))["y"].array.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("datatype", ELEMENTS)
def test_every_datatype_of_onnx_goes_in_and_comes_out(tmp_path: Path, datatype: Datatype) -> None:
    """Bit for bit."""
    opened = Opened(tmp_path, graphs.identity(ELEMENTS[datatype], ("n", 2)))
    given = np.array([[0, 1], [1, 0]]).astype(datatype.dtype)
    found = opened.run(x=Tensor(datatype, given))["y"]
    assert found.datatype is datatype
    assert found.array.dtype == datatype.dtype
    assert np.array_equal(found.array, given)


def test_text_goes_in_and_comes_out(tmp_path: Path) -> None:
    """As UTF-8."""
    opened = Opened(tmp_path, graphs.greeting())
    loud = Tensor(Datatype.BOOL, np.array([[True], [False]]))
    found = opened.run(name=texts("Zoë".encode(), b""), loud=loud)
    assert found["text"].array.tolist() == [["Zoë".encode()], [b""]]
    assert found["quiet"].array.tolist() == [[False], [True]]


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """ONNX knows no other; the refusal names the input."""
    opened = Opened(tmp_path, graphs.greeting())
    loud = Tensor(Datatype.BOOL, np.array([[True]]))
    with pytest.raises(InvalidRequestError, match=r"element 0 of input 'name' is not UTF-8"):
        opened.run(name=texts(b"\xff"), loud=loud)


def test_only_the_outputs_asked_for_are_computed(tmp_path: Path) -> None:
    """In the order asked."""
    opened = Opened(tmp_path, graphs.sum_and_double())
    given = fp32([[1, 2, 3]])
    assert list(opened.run("double", "total", x=given)) == ["double", "total"]
    assert opened.run("total", x=given)["total"].array.tolist() == [[6]]


def test_an_input_that_the_graph_fails_on_is_the_engines_failure(tmp_path: Path) -> None:
    """With ONNX Runtime's own words, and the next input is fine."""
    opened = Opened(tmp_path, graphs.lookup())
    with pytest.raises(EngineError, match=r"ONNX Runtime: .*indices"):
        opened.run(index=Tensor(Datatype.INT64, np.array([[9]])))
    good = Tensor(Datatype.INT64, np.array([[2]]))
    assert opened.run(index=good)["value"].array.tolist() == [[20]]


def test_a_graph_that_cannot_batch_is_served_without(tmp_path: Path) -> None:
    """The whole tensor is one request."""
    opened = Opened(tmp_path, graphs.column_totals())
    assert opened.servable.max_batch_size == 0
    assert opened.run(x=fp32([[1, 2, 3], [1, 1, 1]]))["y"].array.tolist() == [2, 3, 4]


def test_an_optional_input_has_its_default(tmp_path: Path) -> None:
    """Unless it is given."""
    config = "\n".join(
        f'{side} {{ name: "{name}" data_type: TYPE_FP32 dims: [ 3 ] {more} }}'
        for side, name, more in (
            ("input", "x", ""),
            ("input", "bias", "optional: true"),
            ("output", "y", ""),
        )
    )
    opened = Opened(tmp_path, graphs.with_default_bias(), config)
    assert opened.servable.inputs["bias"].optional
    assert opened.run(x=fp32([0, 0, 0]))["y"].array.tolist() == [1, 2, 3]
    assert opened.run(x=fp32([0, 0, 0]), bias=fp32([5, 5, 5]))["y"].array.tolist() == [5, 5, 5]


def test_a_scalar_of_the_graph_is_a_one_on_the_wire(tmp_path: Path) -> None:
    """Triton has no scalars."""
    opened = Opened(tmp_path, graphs.identity(dims=()))
    assert opened.servable.inputs["x"].shape == (1,)
    found = opened.run(x=fp32([5]))["y"]
    assert found.array.tolist() == [5]


def test_a_vector_of_the_graph_is_reshaped_both_ways(tmp_path: Path) -> None:
    """`dims: [1] reshape { shape: [] }` under a batch axis."""
    config = "max_batch_size: 8\n" + "\n".join(
        f'{side} {{ name: "{name}" data_type: TYPE_FP32 dims: [ 1 ] reshape {{ shape: [ ] }} }}'
        for side, name in (("input", "x"), ("output", "y"))
    )
    opened = Opened(tmp_path, graphs.identity(dims=("n",)), config)
    assert opened.servable.inputs["x"].shape == (-1, 1)
    assert opened.run(x=fp32([[1], [2]]))["y"].array.tolist() == [[1], [2]]


def test_an_unaligned_view_is_read_as_well_as_any(tmp_path: Path) -> None:
    """The wire's binary tensors begin wherever the JSON before them ended."""
    opened = Opened(tmp_path, graphs.sum_and_double())
    octets = b"!" + np.arange(12, dtype=np.float32).tobytes()
    array = np.frombuffer(memoryview(octets)[1:], np.float32).reshape(4, 3)
    assert not array.flags.aligned
    found = opened.run(x=Tensor(Datatype.FP32, array))
    assert found["total"].array.tolist() == [[3], [12], [21], [30]]


def test_one_session_answers_many_threads(tmp_path: Path) -> None:
    """Each gets its own answer."""
    opened = Opened(tmp_path, graphs.sum_and_double())

    def ask(i: int) -> Any:
        return opened.run("total", x=fp32([[i, i, i]]))["total"].array.tolist()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(200))) == [[[3 * i]] for i in range(200)]


@pytest.mark.parametrize(
    ("graph", "config", "reason"),
    [
        (None, "", "no model file m/1/model.onnx"),
        (b"no graph", "", "cannot open 1/model.onnx"),
        (b"", "", "cannot open 1/model.onnx"),
        (graphs.identity(), 'default_model_filename: "../../x"', "leads out of the version's"),
        (graphs.sequence_output(), "", "'y'"),
        (graphs.column_totals(), "max_batch_size: 4", "max_batch_size: 0 is right"),
        (
            graphs.identity(),
            rows_of("z", "TYPE_FP32"),
            "'z'",
        ),
        (
            graphs.identity(),
            rows_of("x", "TYPE_INT8"),
            "TYPE_INT8 in the configuration, TYPE_FP32 in the graph",
        ),
        (
            graphs.identity(),
            'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
            "intra_op_thread_count is 'many'",
        ),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_with_its_reason(
    tmp_path: Path, graph: bytes | None, config: str, reason: str
) -> None:
    """Before it is asked anything."""
    assert reason in refusal(tmp_path, graph, config)
