"""Puts a model into a repository: `<model>/<version>/model.onnx` and `<model>/config.pbtxt`.

Everything is staged beside the repository, never inside (a server may be watching it), and renamed
in. What is already there byte for byte is not touched: a newer file would make Triton reload it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from models.configuration import config_text
from models.specification import VERSION, ModelSpec
from service.repository.config import CONFIG_FILE

MODEL_FILE = "model.onnx"


def model_path(repository: Path, spec: ModelSpec) -> Path:
    """Where a model's bytes are in a repository."""
    return repository / spec.name / str(VERSION) / MODEL_FILE


def publish(repository: Path, spec: ModelSpec, model: bytes) -> Path:
    """Write the model and its configuration, each at once and whole; gives the model's path.

    Raises:
        OSError: the repository, or the folder that it is in, cannot be written.
    """
    repository.mkdir(parents=True, exist_ok=True)
    path = model_path(repository, spec)
    staged = Path(tempfile.mkdtemp(prefix=".lupine-staged-", dir=repository.resolve().parent))
    try:
        staged.chmod(0o755)
        folder = staged / spec.name
        _write(folder / str(VERSION) / MODEL_FILE, model)
        _write(folder / CONFIG_FILE, config_text(spec).encode())
        if not (repository / spec.name).exists():
            folder.rename(repository / spec.name)
            return path
        if not path.parent.exists():
            (folder / str(VERSION)).rename(path.parent)
        else:
            _replace(folder / str(VERSION) / MODEL_FILE, path)
        _replace(folder / CONFIG_FILE, repository / spec.name / CONFIG_FILE)
    finally:
        shutil.rmtree(staged)
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _replace(staged: Path, path: Path) -> None:
    if not path.is_file() or path.read_bytes() != staged.read_bytes():
        staged.replace(path)
