"""Brings a version from the registry to this machine, and looks at what came.

Only what is served is fetched: one `model.onnx` (or `model.plan`), and a `config.pbtxt` where one
is shipped. Everything else stays where it is; code beside the model refuses it.
A download that broke off is gone on with.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.registry import onnx_scan
from service.registry.mlflow import MlflowRegistry, RegisteredVersion, RemoteFile
from service.registry.refused import RefusedVersionError
from service.repository import layout
from service.repository.config import CONFIG_FILE

SHA256_TAG = "lupine.sha256"
MODELS = ("model.onnx", "model.plan")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_CODE = re.compile(r".*\.(py|pyc|pyd|so|dll|dylib|pkl|pickle)", re.IGNORECASE)
_MOST_CONFIG_BYTES = 1 << 20
_SPARE = 64 << 20  # bytes of the disk that a download leaves free


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A version on this machine, not yet where it is served from."""

    folder: Path
    model: Path
    config: Path | None
    sha256: str
    bytes: int


def fetch(
    registry: MlflowRegistry, version: RegisteredVersion, staging: Path, *, max_bytes: int
) -> Fetched:
    """Download a version into `staging/<model>/<version>/` and check it.

    Args:
        registry: that has it.
        version: which; its tag `lupine.sha256` says what the bytes must be, if it is there.
        staging: on the filesystem of the repository.
        max_bytes: of the model's file.

    Raises:
        RefusedVersionError: it is not what may be served, and why.
        RegistryError: the registry does not hand it out now.
        OSError: this machine cannot take it, as with a full disk.
    """
    if not layout.is_model_name(version.model) or not layout.is_version(version.version):
        raise RefusedVersionError(
            f"{version.model!r:.100} version {version.version!r:.30} is no name for a model here: "
            "letters, digits, '_', '-' and '.' are, at most 200"
        )
    if not version.ready:
        raise RefusedVersionError("the registry has not got it ready yet", final=False)
    files = registry.files(version.model, version.version)
    wanted, config = _wanted(files)
    folder = staging / version.model / version.version
    folder.mkdir(parents=True, exist_ok=True)
    model = _download(registry, wanted, folder, max_bytes)
    digest = sha256(model)
    expected = version.tags.get(SHA256_TAG)
    if expected is not None and digest != expected:
        model.unlink()
        raise RefusedVersionError(
            f"{wanted.name} has sha256 {digest}, the tag {SHA256_TAG} says {expected:.64}"
        )
    if model.name.endswith(".onnx"):
        check_onnx(model)
    return Fetched(
        folder=folder,
        model=model,
        config=_download(registry, config, folder, _MOST_CONFIG_BYTES) if config else None,
        sha256=digest,
        bytes=model.stat().st_size,
    )


def check_onnx(path: Path) -> None:
    """Make sure that a model keeps all of its weights in its own file.

    Raises:
        RefusedVersionError: it does not, or is no ONNX model.
    """
    try:
        outside = onnx_scan.external_tensors_of(path)
    except onnx_scan.UnreadableError as error:
        raise RefusedVersionError(f"{path.name} is no ONNX model: {error}") from None
    if outside:
        raise RefusedVersionError(
            f"{path.name} keeps {outside} tensors in other files, which may be any on this host: "
            "log it with save_as_external_data=False"
        )


def _wanted(files: Sequence[RemoteFile]) -> tuple[RemoteFile, RemoteFile | None]:
    """The model and its configuration, if nothing beside them speaks against it."""
    for file in files:
        if not _PLAIN.fullmatch(file.name):
            raise RefusedVersionError(f"a file is named {file.name!r:.100}, which leads elsewhere")
        if file.folder and file.name == "code":
            raise RefusedVersionError("it brings code of its own: only ONNX and plans are served")
        if not file.folder and _CODE.fullmatch(file.name):
            raise RefusedVersionError(
                f"it has a {file.name}: code is not served, only ONNX models and TensorRT plans"
            )
    named = {file.name: file for file in files if not file.folder}
    models = [named[name] for name in MODELS if name in named]
    if len(models) != 1:
        there = ", ".join(sorted(named)[:20]) or "nothing"
        raise RefusedVersionError(
            f"one of {' or '.join(MODELS)} is expected at the top of its artifacts: "
            f"there is {there}"
        )
    return models[0], named.get(CONFIG_FILE)


def _download(registry: MlflowRegistry, file: RemoteFile, folder: Path, max_bytes: int) -> Path:
    """A file, whole: what is there of it already is not asked for again."""
    if file.size > max_bytes:
        raise RefusedVersionError(
            f"{file.name} has {file.size:,} bytes: at most {max_bytes:,} are allowed"
        )
    path = folder / file.name
    if path.is_symlink():
        path.unlink()
    have = path.stat().st_size if path.is_file() else 0
    if have != file.size or file.size < 0:
        if have > file.size >= 0:
            path.unlink()
            have = 0
        _room(folder, file.size - have)
        _go_on(registry, file, path, have, max_bytes)
    got = path.stat().st_size
    if file.size >= 0 and got != file.size:
        raise RefusedVersionError(
            f"{file.name} came with {got:,} of {file.size:,} bytes", final=False
        )
    return path


def _go_on(
    registry: MlflowRegistry, file: RemoteFile, path: Path, have: int, max_bytes: int
) -> None:
    with registry.open(file, have) as (start, pieces):
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        with os.fdopen(descriptor, "wb") as sink:
            sink.truncate(start)
            sink.seek(start)
            written = start
            for piece in pieces:
                written += len(piece)
                if written > max_bytes:
                    raise RefusedVersionError(f"{file.name} has more than {max_bytes:,} bytes")
                sink.write(piece)
            sink.flush()
            os.fsync(sink.fileno())


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise RefusedVersionError(
            f"the disk has {free:,} bytes left, {needed + _SPARE:,} are needed", final=False
        )


def sha256(path: Path) -> str:
    """The hex digest of a file, read piece by piece: it may be larger than memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
