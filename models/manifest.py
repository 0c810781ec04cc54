"""What is known of a model that was recorded: its digest, what it was made from, what it reaches.

Kept beside the code, not in the repository: any other file in a model's folder makes Triton reload
every version of it. It is data: reading it needs neither torch nor the model's own module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from models.catalog import NAMES, require
from models.specification import VERSION, Build, Kind, ModelError, ModelSpec
from service.protocol.messages import TensorSpec

FOLDER = Path(__file__).parent / "manifests"


def sha256(content: bytes) -> str:
    """The hex digest that names exactly these bytes."""
    return hashlib.sha256(content).hexdigest()


def path_of(name: str) -> Path:
    """Where a model's manifest is committed."""
    return FOLDER / f"{name}.json"


def load(name: str) -> dict[str, Any]:
    """The committed manifest of a model.

    Raises:
        ModelError: there is none yet, or no such model.
    """
    require(name)
    try:
        found: dict[str, Any] = json.loads(path_of(name).read_text())
    except FileNotFoundError:
        raise ModelError(
            f"{name!r} has no manifest: `python -m models record {name}` writes it"
        ) from None
    return found


def packaged() -> list[str]:
    """The names of the models that a wheel carries as they are."""
    known = (path_of(name) for name in NAMES)
    manifests = [json.loads(path.read_text()) for path in known if path.is_file()]
    return [one["model"] for one in manifests if one["kind"] == Kind.PACKAGED.value]


def installed(spec: ModelSpec) -> dict[str, str]:
    """The versions, here, of the packages that decide a model's bytes; local tags are left out."""
    return {name: metadata.version(name).partition("+")[0] for name in spec.packages}


def differing(spec: ModelSpec, known: Mapping[str, Any]) -> dict[str, list[str]]:
    """The packages that are not as in the manifest: `{name: [version there, version here]}`."""
    here, there = installed(spec), known["packages"]
    return {
        name: [there.get(name, ""), here[name]] for name in here if there.get(name) != here[name]
    }


def describe(
    spec: ModelSpec,
    build: Build,
    *,
    opsets: Mapping[str, int],
    sources: Mapping[str, str],
    seeds: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A new manifest.

    Args:
        spec: of the model.
        build: what was made.
        opsets: operator sets that the graph asks for.
        sources: the files that decide the bytes, with their sha256.
        seeds: what other seeds reach, as `models.seeds.report` gives it.
    """
    return {
        "model": spec.name,
        "version": VERSION,
        "kind": spec.kind.value,
        "summary": spec.summary,
        "licence": spec.licence,
        "sha256": sha256(build.onnx),
        "bytes": len(build.onnx),
        "opsets": dict(opsets),
        "inputs": [_described(tensor) for tensor in spec.inputs],
        "outputs": [_described(tensor) for tensor in spec.outputs],
        "max_batch_size": spec.max_batch_size,
        "tolerance": spec.tolerance,
        "datasets": list(spec.datasets),
        "packages": installed(spec),
        "sources": dict(sources),
        **({"metrics": dict(build.metrics)} if build.metrics else {}),
        **({"seeds": dict(seeds)} if seeds else {}),
        **build.facts,
    }


def dumps(manifest: Mapping[str, Any]) -> str:
    """The text of a manifest file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _described(tensor: TensorSpec) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype.name,
        "shape": list(tensor.shape),
    }
