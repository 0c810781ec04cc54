"""What a client may ask about the server and its models, and change in what is loaded."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.protocol.clients import Ask, Client, RefusedError
from tests.serving import Serving

ROW = np.array([[1, 2, 3]], np.float32)


def test_a_serving_gateway_is_live_and_ready(client: Client) -> None:
    """Both say yes while the engine answers."""
    assert client.live()
    assert client.ready()


def test_a_loaded_model_is_ready_with_and_without_its_version(client: Client) -> None:
    """`ready` takes a name, or a name and a version that is there."""
    assert client.model_ready("rows")
    assert client.model_ready("versioned", "2")


def test_what_is_unknown_is_not_ready(client: Client) -> None:
    """An unknown model or version is not ready; asking is no failure of the client."""
    assert not client.model_ready("nobody")
    assert not client.model_ready("versioned", "3")


def test_the_server_names_itself_and_its_extensions(client: Client) -> None:
    """A client can find out what it may use."""
    about = client.server_metadata()
    assert about["name"] == "lupine"
    assert about["version"]
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(about["extensions"])


def test_metadata_tells_inputs_outputs_and_versions(client: Client) -> None:
    """Shapes lead with -1 where the model batches."""
    told = client.model_metadata("versioned")
    assert told["name"] == "versioned"
    assert told["versions"] == ["1", "2"]
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]


def test_metadata_of_a_version_is_of_that_version_alone(client: Client) -> None:
    """A pinned version does not list the others."""
    assert client.model_metadata("versioned", "1")["versions"] == ["1"]


def test_metadata_of_a_model_that_does_not_batch_has_no_batch_axis(client: Client) -> None:
    """Its shapes are the configured ones."""
    told = client.model_metadata("bias")
    assert [tensor["shape"] for tensor in told["inputs"]] == [[3], [3]]


def test_config_is_tritons_own(client: Client) -> None:
    """Names, numbers and enumerations read as Triton writes them."""
    config = client.model_config("rows")
    assert config["name"] == "rows"
    assert config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 8
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] in ([3], ["3"])  # 64-bit numbers, as Triton's HTTP writes


def test_index_lists_every_version_with_its_state(client: Client) -> None:
    """The repository index names each version that is READY."""
    lines = client.index()
    ready = {(m["name"], m.get("version")) for m in lines if m.get("state") == "READY"}
    assert {("rows", "1"), ("versioned", "1"), ("versioned", "2")} <= ready


def test_statistics_count_what_was_served(client: Client) -> None:
    """One inference more is one more in the model's statistics."""
    before = client.statistics("rows")[0]
    client.infer(Ask(model="rows", inputs={"x": np.repeat(ROW, 3, 0)}))
    after = client.statistics("rows")[0]
    end = time.monotonic() + 5
    while after["inference_count"] == before["inference_count"] and time.monotonic() < end:
        after = client.statistics("rows")[0]  # Triton counts a moment after it has answered
    assert (after["name"], after["version"]) == ("rows", "1")
    assert int(after["inference_count"]) == int(before["inference_count"]) + 3
    assert int(after["execution_count"]) == int(before["execution_count"]) + 1
    spent = after["inference_stats"]["success"]
    assert int(spent["count"]) >= 1
    assert int(spent["ns"]) > 0


def test_statistics_of_all_models_name_each_version(client: Client) -> None:
    """Without a name they come for everything that is loaded."""
    found = {(entry["name"], entry["version"]) for entry in client.statistics()}
    assert {("rows", "1"), ("versioned", "1"), ("versioned", "2")} <= found


def test_statistics_of_one_version_are_of_it_alone(client: Client) -> None:
    """A version narrows them down."""
    found = [(entry["name"], entry["version"]) for entry in client.statistics("versioned", "2")]
    assert found == [("versioned", "2")]


def test_an_unloaded_model_says_so_until_it_is_loaded_again(client: Client) -> None:
    """Unload, ask, load, ask: nothing is answered in between, and the reason is given."""
    ask = Ask(model="guest", inputs={"x": ROW})
    client.unload("guest")
    try:
        assert not client.model_ready("guest")
        with pytest.raises(RefusedError, match="model 'guest' is not loaded") as refused:
            client.infer(ask)
        assert refused.value.kind == "UNAVAILABLE"
        states = {m.get("state") for m in client.index() if m["name"] == "guest"}
        assert states <= {"UNAVAILABLE", "UNLOADING"}  # Triton lets go of it afterwards
    finally:
        client.load("guest")
    assert client.model_ready("guest")
    np.testing.assert_array_equal(client.infer(ask).tensors["y"], ROW)


def test_a_loaded_model_may_be_loaded_again(client: Client) -> None:
    """Loading reads the folder anew, and serves on."""
    client.load("guest")
    assert client.model_ready("guest")


def test_loading_what_is_not_there_names_it(client: Client) -> None:
    """The repository has no such model, and the answer says which."""
    with pytest.raises(RefusedError, match="no model 'nobody'") as refused:
        client.load("nobody")
    assert refused.value.kind == "NOT_FOUND"


@pytest.mark.parametrize("name", ["%2E%2E", "..%2Fmodels", "rows%2F1", "%2Fetc", "rows%00"])
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_path_is_no_models_name(http: httpx.Client, verb: str, name: str) -> None:
    """Names are looked up in the repository, they lead nowhere else."""
    url = http.base_url.copy_with(raw_path=f"/v2/repository/models/{name}/{verb}".encode())
    answer = http.post(url)
    assert answer.status_code == 404
    assert "no model" in answer.json()["error"]


def test_unloading_what_is_not_there_names_it(client: Client) -> None:
    """Triton says yes to that; a typing error deserves an answer."""
    with pytest.raises(RefusedError, match="no model 'nobody'") as refused:
        client.unload("nobody")
    assert refused.value.kind == "NOT_FOUND"


def test_a_config_or_a_file_in_a_load_is_refused(client: Client) -> None:
    """Nobody writes into the server through its control verbs."""
    with pytest.raises(RefusedError, match="'config' would write into the server") as refused:
        client.load("guest", config="{}")
    assert refused.value.kind == "PERMISSION_DENIED"
    with pytest.raises(RefusedError, match="would write into the server"):
        client.load("guest", config="{}", files={"file:1/model.onnx": b"graph"})


def test_a_broken_model_gives_the_reason_when_it_is_loaded(
    client: Client, repository: Path
) -> None:
    """What cannot be loaded harms nobody, and says why."""
    folder = repository / "broken"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(b"no graph")
    (folder / "config.pbtxt").write_text('backend: "onnxruntime"')
    try:
        with pytest.raises(RefusedError, match=r"broken|echo needs") as refused:
            client.load("broken")
        assert refused.value.kind == "INVALID_ARGUMENT"
        assert client.ready()
        assert client.model_ready("rows")
    finally:
        shutil.rmtree(folder)


def test_an_index_of_what_is_ready_leaves_out_the_rest(
    http: httpx.Client, gateway: Serving
) -> None:
    """`{"ready": true}` narrows the index down, as Triton has it."""
    with httpx.Client(base_url=gateway.url) as control:
        control.post("/v2/repository/models/guest/unload").raise_for_status()
        try:
            ready = http.post("/v2/repository/index", json={"ready": True}).json()
        finally:
            control.post("/v2/repository/models/guest/load").raise_for_status()
    assert "rows" in {line["name"] for line in ready}
    assert "guest" not in {line["name"] for line in ready}
