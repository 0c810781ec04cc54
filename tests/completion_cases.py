"""One table for both: what the pure rules make of a configuration, and what Triton reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx import TensorProto

from service.repository.completion import Graph, GraphTensor
from tests import graphs


@dataclass(frozen=True, kw_only=True)
class Case:
    """A graph, in words and in ONNX, a configuration, and what the native backend makes of them.

    `config` is None where the model's folder has no config.pbtxt. Where `error` is set, loading
    fails and says that; else the four others are what the completed configuration holds.
    """

    name: str
    graph: Graph
    model: bytes
    config: Mapping[str, Any] | None = field(default_factory=dict)
    max_batch_size: int = 0
    dynamic_batching: bool = False
    input: tuple[Mapping[str, Any], ...] = ()
    output: tuple[Mapping[str, Any], ...] = ()
    error: str = ""


def _io(name: str, data_type: str, dims: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "data_type": f"TYPE_{data_type}", "dims": dims, **more}


def _xy(kind: str, *shape: int | str) -> Graph:
    """The graph of `graphs.identity`."""
    return Graph(inputs=[GraphTensor("x", kind, shape)], outputs=[GraphTensor("y", kind, shape)])


_SCALAR_ROW: dict[str, Any] = {"reshape": {"shape": []}}
_X, _Y = _io("x", "FP32", [3]), _io("y", "FP32", [3])
_SUM = Graph(
    inputs=[GraphTensor("x", "tensor(float)", ("n", 3))],
    outputs=[
        GraphTensor("total", "tensor(float)", ("n",)),
        GraphTensor("double", "tensor(float)", ("n", 3)),
    ],
)
_SUM_OUTPUT = (_io("total", "FP32", [1], **_SCALAR_ROW), _io("double", "FP32", [3]))
_TOTALS = Graph(
    inputs=[GraphTensor("x", "tensor(float)", ("n", 3))],
    outputs=[GraphTensor("y", "tensor(float)", (3,))],
)
_BIAS = Graph(
    inputs=[GraphTensor("x", "tensor(float)", (3,))],
    outputs=[GraphTensor("y", "tensor(float)", (3,))],
    initializers=[GraphTensor("bias", "tensor(float)", (3,))],
)
_ROWS = _xy("tensor(float)", "n", 3)
_TYPES = {
    "BOOL": ("tensor(bool)", TensorProto.BOOL),
    "UINT8": ("tensor(uint8)", TensorProto.UINT8),
    "UINT16": ("tensor(uint16)", TensorProto.UINT16),
    "UINT32": ("tensor(uint32)", TensorProto.UINT32),
    "UINT64": ("tensor(uint64)", TensorProto.UINT64),
    "INT8": ("tensor(int8)", TensorProto.INT8),
    "INT16": ("tensor(int16)", TensorProto.INT16),
    "INT32": ("tensor(int32)", TensorProto.INT32),
    "INT64": ("tensor(int64)", TensorProto.INT64),
    "FP16": ("tensor(float16)", TensorProto.FLOAT16),
    "FP64": ("tensor(double)", TensorProto.DOUBLE),
    "STRING": ("tensor(string)", TensorProto.STRING),
}

CASES = (
    Case(
        name="no_config_at_all",
        graph=_SUM,
        model=graphs.sum_and_double(),
        config=None,
        max_batch_size=4,
        dynamic_batching=True,
        input=(_X,),
        output=_SUM_OUTPUT,
    ),
    Case(
        name="empty_config",
        graph=_SUM,
        model=graphs.sum_and_double(),
        max_batch_size=4,
        dynamic_batching=True,
        input=(_X,),
        output=_SUM_OUTPUT,
    ),
    Case(
        name="only_a_batch_size",
        graph=_SUM,
        model=graphs.sum_and_double(),
        config={"max_batch_size": 64},
        max_batch_size=64,
        dynamic_batching=True,
        input=(_X,),
        output=_SUM_OUTPUT,
    ),
    Case(
        name="a_batch_size_of_one_gets_no_scheduler",
        graph=_SUM,
        model=graphs.sum_and_double(),
        config={"max_batch_size": 1},
        max_batch_size=1,
        input=(_X,),
        output=_SUM_OUTPUT,
    ),
    Case(
        name="a_chosen_scheduler_stays",
        graph=_ROWS,
        model=graphs.identity(),
        config={"max_batch_size": 8, "dynamic_batching": {"max_queue_delay_microseconds": 100}},
        max_batch_size=8,
        dynamic_batching=True,
        input=(_X,),
        output=(_Y,),
    ),
    Case(
        name="only_inputs",
        graph=_SUM,
        model=graphs.sum_and_double(),
        config={"max_batch_size": 8, "input": [_X]},
        max_batch_size=8,
        dynamic_batching=True,
        input=(_X,),
        output=_SUM_OUTPUT,
    ),
    Case(
        name="only_outputs_and_one_of_two",
        graph=_SUM,
        model=graphs.sum_and_double(),
        config={"output": [_io("double", "FP32", [3])]},
        max_batch_size=4,
        dynamic_batching=True,
        input=(_X,),
        output=(_io("double", "FP32", [3]),),
    ),
    Case(
        name="inputs_and_outputs_leave_nothing_to_complete",
        graph=_ROWS,
        model=graphs.identity(),
        config={"input": [_io("x", "FP32", [-1, 3])], "output": [_io("y", "FP32", [-1, 3])]},
        input=(_io("x", "FP32", [-1, 3]),),
        output=(_io("y", "FP32", [-1, 3]),),
    ),
    Case(
        name="a_full_config_gets_no_scheduler",
        graph=_ROWS,
        model=graphs.identity(),
        config={"max_batch_size": 16, "input": [_X], "output": [_Y]},
        max_batch_size=16,
        input=(_X,),
        output=(_Y,),
    ),
    Case(
        name="inputs_without_batch_axis_and_no_batch_size",
        graph=_ROWS,
        model=graphs.identity(),
        config={"input": [_io("x", "FP32", [-1, 3])]},
        error="input 'x' has shape [-1, -1, 3] in the configuration",
    ),
    Case(
        name="fixed_shape",
        graph=_xy("tensor(float)", 2, 3),
        model=graphs.identity(dims=(2, 3)),
        input=(_io("x", "FP32", [2, 3]),),
        output=(_io("y", "FP32", [2, 3]),),
    ),
    Case(
        name="an_output_without_rows",
        graph=_TOTALS,
        model=graphs.column_totals(),
        input=(_io("x", "FP32", [-1, 3]),),
        output=(_Y,),
    ),
    Case(
        name="an_output_without_rows_refuses_a_batch_size",
        graph=_TOTALS,
        model=graphs.column_totals(),
        config={"max_batch_size": 8},
        error="max_batch_size is 8, but the graph cannot batch: 'y' has shape [3]",
    ),
    Case(
        name="a_full_config_with_a_batch_size_that_cannot_be",
        graph=_TOTALS,
        model=graphs.column_totals(),
        config={"max_batch_size": 8, "input": [_X], "output": [_Y]},
        error="output 'y' has shape [3] in the graph, which does not lead with -1",
    ),
    Case(
        name="one_number_a_row",
        graph=Graph(
            inputs=[GraphTensor("index", "tensor(int64)", ("n",))],
            outputs=[GraphTensor("value", "tensor(float)", ("n",))],
        ),
        model=graphs.lookup(),
        max_batch_size=4,
        dynamic_batching=True,
        input=(_io("index", "INT64", [1], **_SCALAR_ROW),),
        output=(_io("value", "FP32", [1], **_SCALAR_ROW),),
    ),
    Case(
        name="scalars",
        graph=_xy("tensor(float)"),
        model=graphs.identity(dims=()),
        input=(_io("x", "FP32", [1]),),
        output=(_io("y", "FP32", [1]),),
    ),
    Case(
        name="further_axes_of_any_size",
        graph=_xy("tensor(float)", "n", "length", 2),
        model=graphs.identity(dims=("n", "length", 2)),
        max_batch_size=4,
        dynamic_batching=True,
        input=(_io("x", "FP32", [-1, 2]),),
        output=(_io("y", "FP32", [-1, 2]),),
    ),
    Case(
        name="an_input_may_be_narrower_than_the_graph",
        graph=_xy("tensor(float)", "n", "length"),
        model=graphs.identity(dims=("n", "length")),
        config={
            "max_batch_size": 8,
            "input": [_io("x", "FP32", [5])],
            "output": [_io("y", "FP32", [-1])],
        },
        max_batch_size=8,
        input=(_io("x", "FP32", [5]),),
        output=(_io("y", "FP32", [-1]),),
    ),
    Case(
        name="an_output_may_not_be_narrower",
        graph=_xy("tensor(float)", "n", "length"),
        model=graphs.identity(dims=("n", "length")),
        config={
            "max_batch_size": 8,
            "input": [_io("x", "FP32", [-1])],
            "output": [_io("y", "FP32", [5])],
        },
        error="output 'y' has shape [-1, 5] in the configuration",
    ),
    Case(
        name="defaults_are_no_inputs",
        graph=_BIAS,
        model=graphs.with_default_bias(),
        input=(_X,),
        output=(_Y,),
    ),
    Case(
        name="an_optional_input",
        graph=_BIAS,
        model=graphs.with_default_bias(),
        config={"input": [_X, _io("bias", "FP32", [3], optional=True)]},
        input=(_X, _io("bias", "FP32", [3], optional=True)),
        output=(_Y,),
    ),
    Case(
        name="a_default_must_be_written_as_optional",
        graph=_BIAS,
        model=graphs.with_default_bias(),
        config={"input": [_X, _io("bias", "FP32", [3])]},
        error="input 'bias' has a default in the graph",
    ),
    Case(
        name="optional_without_a_default",
        graph=_xy("tensor(float)", 3),
        model=graphs.identity(dims=(3,)),
        config={"input": [{**_X, "optional": True}]},
        error="input 'x' is optional in the configuration, but the graph has no default",
    ),
    Case(
        name="an_unknown_input",
        graph=_ROWS,
        model=graphs.identity(),
        config={"max_batch_size": 4, "input": [_io("wrong", "FP32", [3])]},
        error="the configuration names input 'wrong', the graph has 'x'",
    ),
    Case(
        name="an_unknown_output",
        graph=_ROWS,
        model=graphs.identity(),
        config={"max_batch_size": 4, "output": [_io("wrong", "FP32", [3])]},
        error="the configuration names output 'wrong', the graph has 'y'",
    ),
    Case(
        name="a_wrong_datatype",
        graph=_ROWS,
        model=graphs.identity(),
        config={"max_batch_size": 4, "input": [_io("x", "FP64", [3])]},
        error="input 'x' is TYPE_FP64 in the configuration, TYPE_FP32 in the graph",
    ),
    Case(
        name="wrong_dims",
        graph=_ROWS,
        model=graphs.identity(),
        config={"max_batch_size": 4, "input": [_io("x", "FP32", [7])]},
        error="input 'x' has shape [-1, 7] in the configuration",
    ),
    Case(
        name="a_missing_input",
        graph=Graph(
            inputs=[
                GraphTensor("name", "tensor(string)", ("n", 1)),
                GraphTensor("loud", "tensor(bool)", ("n", 1)),
            ],
            outputs=[
                GraphTensor("text", "tensor(string)", ("n", 1)),
                GraphTensor("quiet", "tensor(bool)", ("n", 1)),
            ],
        ),
        model=graphs.greeting(),
        config={"max_batch_size": 4, "input": [_io("name", "STRING", [1])]},
        error="the graph needs input 'loud', which the configuration lacks",
    ),
    Case(
        name="a_sequence",
        graph=Graph(
            inputs=[GraphTensor("x", "tensor(float)", ("n", 3))],
            outputs=[GraphTensor("y", "seq(tensor(float))", ())],
        ),
        model=graphs.sequence_output(),
        error="output 'y' is seq(tensor(float)): only tensors can be served",
    ),
    Case(
        name="bfloat16",
        graph=_xy("tensor(bfloat16)", "n", 3),
        model=graphs.identity(TensorProto.BFLOAT16),
        error="input 'x' is tensor(bfloat16), a type that Triton's ONNX Runtime backends",
    ),
    *(
        Case(
            name=f"type_{name.lower()}",
            graph=_xy(kind, "n", 2),
            model=graphs.identity(element, ("n", 2)),
            max_batch_size=4,
            dynamic_batching=True,
            input=(_io("x", name, [2]),),
            output=(_io("y", name, [2]),),
        )
        for name, (kind, element) in _TYPES.items()
    ),
)
