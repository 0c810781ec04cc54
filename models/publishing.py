"""Publishes a model to an MLflow registry: its exact bytes, how they were made, what they reach.

A run for each seed, so that MLflow's UI compares them; the recorded seed's run carries the model,
and a version of the registered model points to it. What serves it reads from the version's tags:

- `lupine.serve`: `true`, the registry sync may take it;
- `lupine.sha256`: of the ONNX file; a version with the same is not registered a second time;
- `lupine.seed`, `lupine.commit`: what it was made from.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import behaviour, freshness, golden, manifest, predictors, suites
from models.catalog import builder
from models.specification import Build, ModelError, ModelSpec

EXPERIMENT = "lupine"
SHA256_TAG = "lupine.sha256"
_RETRIES = "2"  # the client's own seven take minutes to say that nobody is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A version in the registry. `new` is false where these bytes had been registered before."""

    model: str
    version: str
    alias: str | None
    sha256: str
    run: str
    new: bool


def publish(
    name: str,
    *,
    alias: str | None = None,
    seeds: int = 1,
    experiment: str = EXPERIMENT,
    told: Callable[[str], None] = lambda _: None,
) -> Published:
    """Make a model, prove it and register it; `MLFLOW_TRACKING_URI` names the registry.

    Args:
        name: in the catalogue, and in the registry.
        alias: to point at the version, when all is there.
        seeds: runs to log; the first is the recorded seed's.
        experiment: that the runs belong to; made if there is none.
        told: is called with what is being done.

    Raises:
        ModelError: the model cannot be made, or fails a test; the registry is not named, does not
            answer, or refuses.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise ModelError("MLFLOW_TRACKING_URI names no registry, such as http://127.0.0.1:5000")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    mlflow = _mlflow()
    with _refusals(mlflow):
        told("asking the registry")
        client = mlflow.MlflowClient()
        client.search_registered_models(max_results=1)  # nothing is trained for nobody
    module = builder(name)
    told("making and proving it")
    build = module.build()
    digest = manifest.sha256(build.onnx)
    exact = digest == manifest.load(name)["sha256"]
    findings = behaviour.require(suites.load(name), predictors.local(build.onnx), exact=exact)
    with _refusals(mlflow):
        found = _registered(client, name, digest)
        if found is None:
            mlflow.set_experiment(experiment)
            version, run = _register(mlflow, client, module.SPEC, build, findings)
            for seed in _further(build, seeds):
                told(f"training seed {seed}")
                _log_seed(mlflow, module.SPEC, module.build(seed))
        else:
            version, run = found.version, found.run_id
        if alias is not None:
            client.set_registered_model_alias(name, alias, version)
    return Published(
        model=name, version=str(version), alias=alias, sha256=digest, run=run, new=found is None
    )


@contextmanager
def _refusals(mlflow: Any) -> Iterator[None]:
    """What the registry says, or that nobody is there, as an error of ours."""
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        where = os.environ["MLFLOW_TRACKING_URI"]
        raise ModelError(f"MLflow at {where} says: {error.message}") from error


def _mlflow() -> Any:
    try:
        import mlflow  # noqa: PLC0415 - takes seconds, and only publishing needs it
        import mlflow.onnx  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModelError(
            f"publishing needs the package {error.name!r}: "
            "install the extra `registry` (pip install -e '.[cpu,export,registry]')"
        ) from None
    return mlflow


def _registered(client: Any, name: str, digest: str) -> Any | None:
    """The newest version of the model with these very bytes."""
    versions = client.search_model_versions(f"name = '{name}'")
    same = [one for one in versions if one.tags.get(SHA256_TAG) == digest]
    return max(same, key=lambda one: int(one.version), default=None)


def _register(
    mlflow: Any, client: Any, spec: ModelSpec, build: Build, findings: list[behaviour.Finding]
) -> tuple[str, str]:
    import onnx  # noqa: PLC0415 - publishing alone needs it here

    example = _example(spec)
    outputs = predictors.local(build.onnx)(golden.load(spec.name)[0].inputs)
    with mlflow.start_run(run_name=_run_name(spec, build)) as run:
        _log(mlflow, spec, build)
        tested = [dataclasses.asdict(finding) for finding in findings]
        mlflow.log_dict({"tests": tested}, "behaviour.json")
        mlflow.log_text(golden.path_of(spec.name).read_text(), "golden.json")
        logged = mlflow.onnx.log_model(
            onnx.load_from_string(build.onnx),
            name="model",
            save_as_external_data=False,  # else random names, and no two hashes agree
            signature=mlflow.models.infer_signature(example, _readable(outputs)),
            input_example=example,
            pip_requirements=[f"{one}=={v}" for one, v in manifest.installed(spec).items()],
        )
        version = mlflow.register_model(logged.model_uri, spec.name, tags=_tags(build))
    if not client.get_registered_model(spec.name).description:
        client.update_registered_model(spec.name, f"{spec.summary}. Licence: {spec.licence}")
    return version.version, run.info.run_id


def _log_seed(mlflow: Any, spec: ModelSpec, build: Build) -> None:
    with mlflow.start_run(run_name=_run_name(spec, build)):
        _log(mlflow, spec, build)


def _log(mlflow: Any, spec: ModelSpec, build: Build) -> None:
    facts = dict(build.facts)
    nested = facts.pop("determinism", {})
    mlflow.log_params(
        {
            "model": spec.name,
            "kind": spec.kind.value,
            **facts,
            **{f"determinism.{key}": value for key, value in nested.items()},
            **{f"package.{key}": value for key, value in manifest.installed(spec).items()},
        }
    )
    mlflow.log_metrics({**build.metrics, "bytes": len(build.onnx)})
    mlflow.set_tags(_tags(build))
    mlflow.log_dict({"sources": freshness.sources(spec)}, "sources.json")


def _tags(build: Build) -> dict[str, str]:
    return {
        "lupine.serve": "true",
        SHA256_TAG: manifest.sha256(build.onnx),
        "lupine.seed": str(build.facts.get("seed", "none")),
        "lupine.commit": _commit(),
    }


def _further(build: Build, seeds: int) -> range:
    if "seed" not in build.facts or not build.metrics:
        return range(0)
    own = int(build.facts["seed"])
    return range(own + 1, own + seeds)


def _run_name(spec: ModelSpec, build: Build) -> str:
    return f"{spec.name}-seed-{build.facts['seed']}" if "seed" in build.facts else spec.name


def _example(spec: ModelSpec) -> Mapping[str, np.ndarray[Any, Any]]:
    return _readable(golden.load(spec.name)[0].inputs)


def _readable(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """BYTES as texts: MLflow's signatures know no other."""
    return {
        name: np.array([element.decode() for element in array.ravel()]).reshape(array.shape)
        if array.dtype.hasobject
        else array
        for name, array in arrays.items()
    }


def _commit() -> str:
    """The commit of this checkout, with `+changes` where files differ from it; or `unknown`."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(freshness.ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - git
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
