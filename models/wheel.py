"""Reads files out of an installed wheel, without importing what is in it."""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path

from models.specification import ModelError


def read(package: str, path: str, *, distribution: str, extra: str) -> bytes:
    """A file of a package that its authors' wheel installed.

    Args:
        package: top-level, as it is imported.
        path: of the file, from the package's folder.
        distribution: as PyPI names it.
        extra: of pyproject.toml that brings it.

    Raises:
        ModelError: the wheel is not installed, or has no such file.
    """
    found = util.find_spec(package)  # finds a top-level package without importing it
    if found is None or found.origin is None:
        raise ModelError(
            f"the wheel `{distribution}`, which carries the model, is not installed: "
            f"take the extra `{extra.rpartition(',')[2]}` (pip install -e '.[{extra}]')"
        )
    file = Path(found.origin).parent / path
    if not file.is_file():
        raise ModelError(
            f"the installed {distribution} {metadata.version(distribution)} has no {path}: "
            "pyproject.toml names the version that has"
        )
    return file.read_bytes()
