from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from benchmarks import sla as slas
from benchmarks import workloads
from benchmarks.load.wire import WRONG, judged
from benchmarks.sla import Limits, Sla, SlaError, Target, Trace
from benchmarks.wires import oip_grpc, oip_http
from benchmarks.wires.exchange import Request, Response
from benchmarks.wires.tensors import DTYPES, from_bytes

MODELS = ("digits", "magika", "parcel_router")
IDENTITY = workloads.identity(3, 71)


def target(model: str, wire: Any = "http-binary", **changes: Any) -> Target:
    return Target(name="a", model=model, limits=Limits(p99_ms=5), rate=1, wire=wire, **changes)


def golden(model: str) -> Path:
    return slas.payload_path(target(model), Path("sla.toml"))


def same(found: Any, case: Request) -> bool:
    return list(found) == list(case.inputs) and all(
        np.array_equal(found[name], array) and found[name].shape == array.shape
        for name, array in case.inputs.items()
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("binary", [True, False])
def test_golden_cases_become_http_bodies(model: str, *, binary: bool) -> None:
    """With an id put in, a body is the protocol's: it holds the id and the tensors."""
    workload = workloads.load(golden(model), model)
    wire = "http-binary" if binary else "http-json"
    prepared = workloads.prepare(workload, target(model, wire))
    assert len(prepared) == len(workload.cases) > 1
    for one in prepared:
        body = one.bytes_for(IDENTITY)
        message = json.loads(body[: one.json_length])
        assert message["id"] == IDENTITY
        assert (one.json_length < len(body)) == binary
        assert message.get("parameters", {}).get("binary_data_output", False) == binary
        found, at = {}, one.json_length
        for tensor in message["inputs"]:
            if binary:
                size = tensor["parameters"]["binary_data_size"]
                flat = from_bytes(tensor["datatype"], body[at : at + size])
                at += size
            else:
                values = tensor["data"]
                if tensor["datatype"] == "BYTES":
                    values = [value.encode() for value in values]
                flat = np.array(values, DTYPES[tensor["datatype"]])
            found[tensor["name"]] = flat.reshape(tensor["shape"])
        assert at == len(body) if binary else True
        assert same(found, one.case)


@pytest.mark.parametrize("model", MODELS)
def test_golden_cases_become_grpc_messages(model: str) -> None:
    """The same over gRPC, with the version that the target names."""
    workload = workloads.load(golden(model), model)
    for one in workloads.prepare(workload, target(model, "grpc", version="7")):
        message = service_pb2.ModelInferRequest.FromString(one.bytes_for(IDENTITY))
        assert (message.id, message.model_name, message.model_version) == (IDENTITY, model, "7")
        found = {
            tensor.name: from_bytes(tensor.datatype, raw).reshape(tuple(tensor.shape))
            for tensor, raw in zip(message.inputs, message.raw_input_contents, strict=True)
        }
        assert same(found, one.case)


def test_ids_are_as_long_as_the_place_for_them() -> None:
    """And differ by process and number."""
    found = {workloads.identity(w, n) for w in (0, 1, 255) for n in (0, 1, 2**40)}
    assert len(found) == 9
    assert {len(one) for one in found} == {16}


def test_parameters_of_a_case_are_sent(tmp_path: Path) -> None:
    """On both wires, beside the protocol's own."""
    path = tmp_path / "cases.json"
    case = dict(CASE, parameters={"timeout": 5, "deep": True, "kind": "x"})
    path.write_text(json.dumps({"cases": [case]}))
    workload = workloads.load(path, "m")
    (one,) = workloads.prepare(workload, target("m"))
    told = json.loads(one.bytes_for(IDENTITY)[: one.json_length])["parameters"]
    assert told == {"timeout": 5, "deep": True, "kind": "x", "binary_data_output": True}
    (one,) = workloads.prepare(workload, target("m", "grpc"))
    parameters = service_pb2.ModelInferRequest.FromString(one.bytes_for(IDENTITY)).parameters
    assert parameters["timeout"].int64_param == 5
    assert parameters["deep"].bool_param
    assert parameters["kind"].string_param == "x"


TENSOR = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}
CASE = {"inputs": [TENSOR], "outputs": [TENSOR]}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([CASE], "Expected `object`, got `array`"),
        ({}, "missing required field `cases`"),
        ({"cases": []}, r"length >= 1 - at `\$\.cases`"),
        ({"cases": [{"inputs": [TENSOR]}]}, r"missing required field `outputs` - at `\$\.cases\[0"),
        ({"cases": [CASE], "tolerance": "small"}, r"Expected `float`.*tolerance"),
        ({"cases": [CASE], "tolerance": -1}, r">= 0.*tolerance"),
        ({"cases": [dict(CASE, outputs=[TENSOR | {"datatype": "FP33"}])]}, "'FP33' is none of"),
        ({"cases": [dict(CASE, inputs=[TENSOR | {"shape": [3]}])]}, "'x': cannot reshape"),
        ({"cases": [dict(CASE, inputs=[TENSOR | {"data": [1, "a"]}])]}, "'x': could not convert"),
        ({"cases": [dict(CASE, inputs=[TENSOR | {"data": [[1], [2, 3]]}])]}, "'x': "),
        ({"cases": [dict(CASE, inputs=[TENSOR | {"datatype": "BYTES"}])]}, "'x': 'int' object"),
        (
            {"cases": [dict(CASE, inputs=[TENSOR | {"datatype": "UINT8", "data": [1, 300]}])]},
            "'x': .*300 out of bounds",
        ),
    ],
)
def test_what_is_no_golden_file_is_refused(document: Any, told: str, tmp_path: Path) -> None:
    """With the file and the reason."""
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(document))
    with pytest.raises(SlaError, match=rf"cases\.json holds no golden cases: .*{told}"):
        workloads.load(path, "m")


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    """Before any load is sent."""
    with pytest.raises(SlaError, match=r"gone\.json: No such file"):
        workloads.load(tmp_path / "gone.json", "m")
    path = tmp_path / "cut.json"
    path.write_text('{"cases": [')
    with pytest.raises(SlaError, match=r"cut\.json holds no golden cases: .*truncated"):
        workloads.load(path, "m")


def test_all_files_of_an_sla_are_read_ahead(tmp_path: Path) -> None:
    """Those that are there, but wrong, would otherwise be found out in the midst of a run."""
    path = tmp_path / "sla.toml"
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "t.txt").write_text("1\n")
    workloads.check(Sla(target=tuple(target(model) for model in MODELS)), path)
    with pytest.raises(SlaError, match=r"bad\.json"):
        workloads.check(Sla(target=(target("digits", payloads="bad.json"),)), path)
    with pytest.raises(SlaError, match=r"t\.txt"):
        workloads.check(Sla(target=(target("digits", arrivals=Trace("t.txt")),)), path)


def verdict(response: Response | Exception, tolerance: float = 1e-4) -> tuple[str, str]:
    def decode() -> Response:
        if isinstance(response, Exception):
            raise response
        return response

    case = workloads.load(golden("digits"), "digits").cases[0]
    answer = judged(1.0, 0.5, case=case, identity=IDENTITY, tolerance=tolerance, decode=decode)
    assert (answer.begun, answer.seconds) == (1.0, 0.5)
    return answer.fate, answer.text


def test_an_answer_is_right_only_if_all_of_it_is() -> None:
    """The id, the names, the shapes and the numbers; one that upsets its decoder is wrong too."""
    logits = workloads.load(golden("digits"), "digits").cases[0].expected["logits"]
    assert verdict(Response(IDENTITY, {"logits": logits})) == ("", "")
    assert verdict(Response(IDENTITY, {"logits": logits + 5e-5}))[0] == ""
    for wrong, told in (
        (Response(workloads.identity(3, 72), {"logits": logits}), "answered with the id"),
        (Response(IDENTITY, {"logits": logits + 1}), "logits is off by 1"),
        (Response(IDENTITY, {"logits": logits * np.float32("nan")}), "logits is off by nan"),
        (Response(IDENTITY, {"logits": logits[0]}), "has shape (10,)"),
        (Response(IDENTITY, {}), "outputs [], not ['logits']"),
        (MemoryError("all of it"), "cannot be read: MemoryError: all of it"),
    ):
        fate, text = verdict(wrong)
        assert fate == WRONG
        assert told in text


def test_what_is_encoded_for_a_wire_is_what_its_peer_decodes() -> None:
    """An answer made of a case's own expectation is right on both wires."""
    case = workloads.load(golden("parcel_router"), "parcel_router").cases[0]
    request = Request(IDENTITY, case.model, case.expected, {})
    content, length = oip_http.body(request, binary=True)
    answer = content[:length].replace(b'"inputs"', b'"outputs"') + content[length:]
    decoded = oip_http.decode({oip_http.LENGTH: str(length + 1)}, answer)
    for name, array in case.expected.items():
        assert np.array_equal(decoded.outputs[name], array)
    raw = oip_grpc.encode(request, typed=False)
    message = service_pb2.ModelInferResponse(id=IDENTITY, outputs=[])
    for tensor, blob in zip(raw.inputs, raw.raw_input_contents, strict=True):
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_output_contents.append(blob)
    for name, array in case.expected.items():
        assert np.array_equal(oip_grpc.decode(message).outputs[name], array)
