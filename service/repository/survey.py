"""What is plainly wrong with a model repository, seen without loading anything from it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from service.errors import ConfigurationError
from service.repository import config as model_config
from service.repository import layout

_FILES = {"": "model.onnx", "onnxruntime": "model.onnx", "tensorrt": "model.plan"}
_BACKENDS = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One folder of the repository. Without `problems` nothing speaks against loading it."""

    name: str
    versions: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


def survey(repository: Path, *, needs_files: bool = True) -> list[Finding]:
    """Every folder in the repository that stands for a model, or was meant to.

    Args:
        repository: exists.
        needs_files: whether the engine reads model files; echo reads configs alone.

    Raises:
        ConfigurationError: the repository may not be read.
    """
    try:
        entries = sorted(repository.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"the model repository {str(repository)!r} cannot be read: {error.strerror}"
        ) from None
    return [
        _model(entry, needs_files=needs_files)
        for entry in entries
        if not entry.name.startswith(".") and (entry.is_symlink() or entry.is_dir())
    ]


def _model(folder: Path, *, needs_files: bool) -> Finding:
    if folder.is_symlink():
        return Finding(name=folder.name, problems=("it is a link, which is not followed",))
    if not layout.is_model_name(folder.name):
        return Finding(
            name=folder.name,
            problems=(
                "its name is no model name: letters, digits, '_', '-' and '.' are, at most 200",
            ),
        )
    try:
        versions = layout.versions(folder)
        problems = [*_strange(folder), *_unservable(folder, versions, needs_files=needs_files)]
    except OSError as error:
        return Finding(name=folder.name, problems=(f"it cannot be read: {error}",))
    return Finding(name=folder.name, versions=tuple(versions), problems=tuple(problems))


def _strange(folder: Path) -> Iterator[str]:
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            yield f"{entry.name} is a link, which is not followed"
        elif (
            entry.is_dir() and re.match(r"[0-9]", entry.name) and not layout.is_version(entry.name)
        ):
            yield f"the folder {entry.name} is no version, yet Triton may read it as one: move it"


def _unservable(folder: Path, versions: list[int], *, needs_files: bool) -> Iterator[str]:
    try:
        config = model_config.read(folder)
        chosen = model_config.chosen_versions(config, versions)
        model_config.servable(config, "1")
    except ConfigurationError as error:
        yield error.message
        return
    if not versions:
        yield f"it has no version: a folder such as {folder.name}/1 is expected"
        return
    if not needs_files:
        return
    for version in chosen:
        yield from _missing_file(config, folder / str(version))


def _missing_file(config: dict[str, Any], folder: Path) -> Iterator[str]:
    platform = config.get("platform", "")
    backend = config.get("backend") or _BACKENDS.get(platform, platform)
    name = config.get("default_model_filename") or _FILES.get(backend)
    if name is None:
        return
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        yield f"default_model_filename {name!r} leads out of the version's folder"
        return
    path = folder / name
    if not path.exists():
        yield f"{folder.name}/{name} is missing"
    elif not os.access(path, os.R_OK):
        yield f"{folder.name}/{name} may not be read by this user"
    elif path.is_file() and not path.stat().st_size:
        yield f"{folder.name}/{name} is empty"
