"""`parcel_router`: which service carries a parcel, by its destination and weight.

Takes `destination` BYTES [-1, 1] (an ISO 3166 country code) and `weight_kg` FP32 [-1, 1]; gives
`route` BYTES [-1, 1] and `probabilities` FP32 [-1, 4], in the order of `ROUTES`. An unknown
destination is routed by weight alone.

The data is generated. The rule of this made-up carrier, whose depot is in Germany:

1. above 31.5 kg, what one person may carry to a door: `freight`;
2. otherwise within Germany: `courier`;
3. otherwise overseas (no road leads there without a ferry) and up to 10 kg: `air`;
4. otherwise `road`;

and one parcel in fifty was sent by another way, drawn evenly, because dispatchers improvise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from models.canonical import finish
from models.specification import Arrays, Build, Case, Kind, ModelSpec
from models.verify import compare
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

SPEC = ModelSpec(
    name="parcel_router",
    kind=Kind.TRAINED,
    summary="which service carries a parcel, by its destination and weight",
    inputs=(
        TensorSpec(name="destination", datatype=Datatype.BYTES, shape=(-1, 1)),
        TensorSpec(name="weight_kg", datatype=Datatype.FP32, shape=(-1, 1)),
    ),
    outputs=(
        TensorSpec(name="route", datatype=Datatype.BYTES, shape=(-1, 1)),
        TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 4)),
    ),
    max_batch_size=256,
    tolerance=1e-4,
    golden_source="scikit-learn, the pipeline that was exported",
    licence="Apache-2.0",
    slo_p99_ms=100,
    default_timeout_ms=5_000,
    packages=("numpy", "onnx", "scikit-learn", "skl2onnx"),
    sources=("models/canonical.py",),
    datasets=("parcels",),
    tensorrt="TensorRT has neither strings nor trees of decisions",
)

SEED = 11
ROUTES = ("air", "courier", "freight", "road")
HOME = "DE"
OVERSEAS = ("CY", "GB", "GR", "IE", "IS", "MT")
MAINLAND = ("AT", "BE", "CH", "CZ", "DK", "ES", "FR", "IT", "LU", "NL", "PL", "PT", "SE", "SI")
OPSETS = {"": 18, "ai.onnx.ml": 3}  # what NVIDIA's ONNX Runtime backend has long read

_PARCELS = 6_000
_HELD_OUT = 1_000
_CARRIED_KG = 31.5
_FLOWN_KG = 10.0
_IMPROVISED = 0.02


def by_rule(destination: str, weight_kg: float) -> str:
    """The route that the documented rule names."""
    if weight_kg > _CARRIED_KG:
        return "freight"
    if destination == HOME:
        return "courier"
    return "air" if destination in OVERSEAS and weight_kg <= _FLOWN_KG else "road"


def parcels(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Generated parcels, object [n, 2] of (country code, kg), and their routes, object [n]."""
    draw = np.random.default_rng(seed)
    countries = np.array([HOME, *MAINLAND, *OVERSEAS], dtype=np.object_)
    weights = np.round(draw.gamma(1.3, 10.0, count) + 0.05, 2).astype(np.float32)
    domestic = draw.random(count) < 1 / 3
    rows = np.empty((count, 2), dtype=np.object_)
    rows[:, 0] = np.where(domestic, HOME, draw.choice(countries, count))
    rows[:, 1] = weights.tolist()
    routes = np.array([by_rule(*row) for row in rows], dtype=np.object_)
    improvised = draw.random(count) < _IMPROVISED
    routes[improvised] = draw.choice(np.array(ROUTES, np.object_), int(improvised.sum()))
    return rows, routes


def train(rows: np.ndarray[Any, Any], routes: np.ndarray[Any, Any], seed: int = SEED) -> Pipeline:
    """Fit the pipeline; the same arguments give the same trees, on every machine."""
    columns = ColumnTransformer(
        [("destination", OneHotEncoder(handle_unknown="ignore"), [0])],
        remainder="passthrough",
        sparse_threshold=0.0,
    )
    forest = RandomForestClassifier(
        24, max_leaf_nodes=48, max_features=None, max_samples=0.5, random_state=seed, n_jobs=1
    )
    return Pipeline([("columns", columns), ("forest", forest)]).fit(rows, routes)


def answer(pipeline: Pipeline, inputs: Arrays) -> Arrays:
    """What the pipeline says, in the names and types of the model's outputs."""
    rows = np.empty((len(inputs["destination"]), 2), dtype=np.object_)
    rows[:, 0] = [code.decode() for code in inputs["destination"].ravel()]
    rows[:, 1] = inputs["weight_kg"].ravel().tolist()
    routes = [str(route).encode() for route in pipeline.predict(rows)]
    return {
        "route": np.array(routes, dtype=np.object_).reshape(-1, 1),
        "probabilities": pipeline.predict_proba(rows).astype(np.float32),
    }


def tensors(rows: np.ndarray[Any, Any]) -> Arrays:
    """Parcels as the model takes them."""
    codes = [str(code).encode() for code in rows[:, 0]]
    return {
        "destination": np.array(codes, dtype=np.object_).reshape(-1, 1),
        "weight_kg": rows[:, 1:].astype(np.float32),
    }


def export(pipeline: Pipeline, rows: np.ndarray[Any, Any]) -> bytes:
    """The pipeline as ONNX bytes, compared with scikit-learn at batch sizes 1, 2, 7 and 32.

    Raises:
        ModelError: the graph is invalid, does not fit the spec, or answers otherwise.
    """
    model = to_onnx(
        pipeline,
        initial_types=[
            ("destination", StringTensorType([None, 1])),
            ("weight_kg", FloatTensorType([None, 1])),
        ],
        options={"zipmap": False},
        target_opset=OPSETS,
        name=SPEC.name,
    )
    _label_as_column(model.graph)
    content = finish(model, SPEC)
    compare(content, SPEC, tensors(rows), lambda inputs: answer(pipeline, inputs))
    return content


def _label_as_column(graph: Any) -> None:
    """Make the label [n, 1]: with a shape of [n] Triton would need a `reshape` for it."""
    label = graph.output[0].name
    graph.initializer.append(helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]))
    graph.node.append(helper.make_node("Reshape", [label, "column"], ["route"], name="as_column"))
    column = helper.make_tensor_value_info("route", TensorProto.STRING, ["batch", 1])
    graph.output[0].CopyFrom(column)


def build(seed: int | None = None) -> Build:
    """Generate, fit, measure and export. Another seed gives other parcels and other trees.

    Raises:
        ModelError: the graph is invalid, does not fit the spec, or answers otherwise.
    """
    chosen = SEED if seed is None else seed
    rows, routes = parcels(_PARCELS, chosen)
    unseen, unseen_routes = parcels(_HELD_OUT, chosen + 1)
    pipeline = train(rows, routes, chosen)
    return Build(
        onnx=export(pipeline, unseen),
        facts={"seed": chosen, "training_parcels": _PARCELS, "held_out_parcels": _HELD_OUT},
        metrics={"accuracy": round(float(pipeline.score(unseen, unseen_routes)), 4)},
        golden=lambda: _golden(pipeline),
        held_out=lambda: Case(
            name="held-out parcels",
            inputs=tensors(unseen),
            outputs={"label": np.array([str(route).encode() for route in unseen_routes], object)},
        ),
    )


def _golden(pipeline: Pipeline) -> Sequence[Case]:
    cases: dict[str, list[tuple[str, float]]] = {
        "a letter within Germany": [("DE", 0.5)],
        "a pallet within Germany": [("DE", 180.0)],
        "a small parcel to an island": [("MT", 2.25)],
        "a large parcel to an island": [("MT", 24.0)],
        "a parcel to a neighbour": [("FR", 7.5)],
        "an unknown destination": [("ZZ", 4.0)],
        "an empty destination": [("", 4.0)],
        "a destination beyond ASCII": [("Österreich", 4.0)],
        "four at once": [("DE", 3.0), ("IS", 3.0), ("PL", 3.0), ("PL", 60.0)],
    }
    golden = []
    for name, listed in cases.items():
        inputs = tensors(np.array(listed, dtype=np.object_))
        golden.append(Case(name=name, inputs=inputs, outputs=answer(pipeline, inputs)))
    return golden
