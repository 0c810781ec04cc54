"""Publishing to a real MLflow server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx

from benchmarks.harness.gateway import free_port
from benchmarks.harness.registered import Registered
from models import manifest

LUPINE = str(Path(sys.executable).with_name("lupine"))


def published(uri: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [LUPINE, "publish", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )
    assert done.returncode == code, done.stderr
    return done


def asked(url: str, path: str, **parameters: str) -> dict:
    answer = httpx.get(f"{url}/api/2.0/mlflow/{path}", params=parameters, trust_env=False)
    return dict(answer.raise_for_status().json())


def test_a_model_is_published_whole(registry_url: str) -> None:
    """The registry hands out the exact bytes, with how they were made, and the alias points there.

    Published again, the same bytes are no second version: only the alias moves.
    """
    done = json.loads(
        published(
            registry_url, "parcel_router", "--alias", "challenger", "--seeds", "2", "--json"
        ).stdout
    )
    known = manifest.load("parcel_router")
    assert (done["version"], done["new"]) == ("1", True)
    with closing(Registered(registry_url)) as registered:
        content = registered.content("parcel_router", "1")
    assert manifest.sha256(content) == done["sha256"]

    version = asked(registry_url, "model-versions/get", name="parcel_router", version="1")[
        "model_version"
    ]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["lupine.serve"] == "true"
    assert tags["lupine.sha256"] == done["sha256"]
    assert tags["lupine.seed"] == str(known["seed"])
    assert tags["lupine.commit"]
    assert version["aliases"] == ["challenger"]

    run = asked(registry_url, "runs/get", run_id=done["run"])["run"]
    params = {param["key"]: param["value"] for param in run["data"]["params"]}
    assert params["package.skl2onnx"] == known["packages"]["skl2onnx"]
    (accuracy,) = [one["value"] for one in run["data"]["metrics"] if one["key"] == "accuracy"]
    assert accuracy == known["metrics"]["accuracy"]
    answer = httpx.post(
        f"{registry_url}/api/2.0/mlflow/runs/search",
        json={"experiment_ids": [run["info"]["experiment_id"]]},
        trust_env=False,
    )
    names = {one["info"]["run_name"] for one in answer.raise_for_status().json()["runs"]}
    seed = known["seed"]
    assert names == {f"parcel_router-seed-{seed}", f"parcel_router-seed-{seed + 1}"}

    again = json.loads(
        published(registry_url, "parcel_router", "--alias", "champion", "--json").stdout
    )
    assert (again["version"], again["new"]) == ("1", False)
    version = asked(registry_url, "model-versions/get", name="parcel_router", version="1")[
        "model_version"
    ]
    assert set(version["aliases"]) == {"challenger", "champion"}


def test_no_registry_is_said() -> None:
    """Without an address, or with nobody there, one line says so and nothing is trained."""
    assert "MLFLOW_TRACKING_URI names no registry" in published("", "magika", code=1).stderr
    nobody = f"http://127.0.0.1:{free_port()}"
    told = published(nobody, "magika", code=1).stderr
    assert told.startswith(f"error: MLflow at {nobody} says: ")


def test_an_alias_that_the_registry_refuses(registry_url: str) -> None:
    """The registry's reason is told; the version is there, without the alias."""
    told = published(registry_url, "magika", "--alias", "v1", code=1).stderr
    assert "MLflow at" in told
    assert "v1" in told
