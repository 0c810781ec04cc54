"""What is known of a committed model: its digest, its makers' versions and its licence.

Kept beside the code, not in the repository: any other file in a model's folder makes Triton reload
every version of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from models.catalog import VERSION, Build, Kind, ModelError, ModelSpec

FOLDER = Path(__file__).parent / "manifests"


def sha256(content: bytes) -> str:
    """The hex digest that names exactly these bytes."""
    return hashlib.sha256(content).hexdigest()


def path_of(spec: ModelSpec) -> Path:
    """Where a model's manifest is committed."""
    return FOLDER / f"{spec.name}.json"


def load(spec: ModelSpec) -> dict[str, Any]:
    """The committed manifest of a model.

    Raises:
        ModelError: there is none yet.
    """
    try:
        found: dict[str, Any] = json.loads(path_of(spec).read_text())
    except FileNotFoundError:
        raise ModelError(
            f"{spec.name!r} has no manifest: `python -m models record {spec.name}` writes it"
        ) from None
    return found


def installed(spec: ModelSpec) -> dict[str, str]:
    """The versions, here, of the packages that decide a model's bytes; local tags are left out."""
    return {name: metadata.version(name).partition("+")[0] for name in spec.packages}


def processor() -> str:
    """Who made this machine's processor, as it calls itself; empty where nothing tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((v.strip() for k, _, v in (n.partition(":") for n in lines) if "vendor" in k), "")


def differing(spec: ModelSpec, known: Mapping[str, Any]) -> dict[str, list[str]]:
    """What decides a model's bytes and is not as in the manifest: `{it: [there, here]}`.

    The versions of packages, and the processor's maker: arithmetic differs in the last bits.
    """
    here = installed(spec)
    there = known["packages"]
    if "processor" in known:
        here, there = here | {"processor": processor()}, there | {"processor": known["processor"]}
    return {
        name: [there.get(name, ""), here[name]] for name in here if there.get(name) != here[name]
    }


def describe(spec: ModelSpec, build: Build, opsets: Mapping[str, int]) -> dict[str, Any]:
    """A new manifest."""
    return {
        "model": spec.name,
        "version": VERSION,
        "kind": spec.kind.value,
        "licence": spec.licence,
        "sha256": sha256(build.onnx),
        "bytes": len(build.onnx),
        "opsets": dict(opsets),
        "inputs": [_described(tensor) for tensor in spec.inputs],
        "outputs": [_described(tensor) for tensor in spec.outputs],
        "max_batch_size": spec.max_batch_size,
        "tolerance": spec.tolerance,
        "packages": installed(spec),
        **({"processor": processor()} if spec.kind is Kind.TRAINED else {}),
        **build.facts,
    }


def dumps(manifest: Mapping[str, Any]) -> str:
    """The text of a manifest file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _described(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype.name,
        "shape": list(tensor.shape),
    }
