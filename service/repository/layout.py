"""The model repository on disk: `<model>/config.pbtxt` and `<model>/<version>/<file>`.

Source: Triton's "Model Repository" documentation. Read only; nothing here follows a link.
"""

from __future__ import annotations

import re
from pathlib import Path

from service.errors import ConfigurationError, NotFoundError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def is_model_name(name: str) -> bool:
    """Whether `name` may be a model's folder: letters, digits, `_`, `-` and `.`, at most 200."""
    return _NAME.fullmatch(name) is not None


def is_version(name: str) -> bool:
    """Whether `name` may be a version's folder: a whole number above 0, without leading zeros."""
    return _VERSION.fullmatch(name) is not None


def check_repository(repository: Path) -> None:
    """Make sure that there is something to serve from.

    Raises:
        ConfigurationError: `repository` is no folder.
    """
    if not repository.is_dir():
        raise ConfigurationError(
            f"the model repository {str(repository)!r} is no folder: point --repository at one "
            "that holds <model>/<version>/model.onnx"
        )


def model_names(repository: Path) -> list[str]:
    """The names of the models in the repository, sorted. Folders with other names are left out."""
    return sorted(
        entry.name
        for entry in repository.iterdir()
        if is_model_name(entry.name) and not entry.is_symlink() and entry.is_dir()
    )


def model_folder(repository: Path, model: str) -> Path:
    """The folder of one model.

    Raises:
        NotFoundError: the repository has no such model.
    """
    folder = repository / model
    if not is_model_name(model) or folder.is_symlink() or not folder.is_dir():
        raise NotFoundError(f"the repository has no model {model!r:.200}")
    return folder


def versions(folder: Path) -> list[int]:
    """The version numbers that a model's folder holds, ascending."""
    return sorted(
        int(entry.name)
        for entry in folder.iterdir()
        if is_version(entry.name) and not entry.is_symlink() and entry.is_dir()
    )
