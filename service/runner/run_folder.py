"""The private folder that the processes of one gateway share, for as long as it lives."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil

from service import settings as settings_module
from service.errors import ConfigurationError
from service.runner import guardian, lifeline, record
from service.settings import Settings

_MARK = "prepared.pid"


def locate(settings: Settings) -> Path:
    """The gateway's private folder; made, and named in the environment, where there is none."""
    if settings.run_dir is None:
        made = tempfile.mkdtemp(prefix="lupine-")
        os.environ[settings_module.variable("run_dir")] = made
        return Path(made)
    settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings.run_dir


def prepare(settings: Settings) -> Path:
    """The folder of this gateway: made, or what a gateway that was killed left in it cleared.

    `lupine serve` calls it before it becomes `bentoml serve`, which calls it again: by then the
    folder bears the process's own mark.

    Raises:
        ConfigurationError: the one that LUPINE_RUN_DIR names is in use, or is no such folder.
    """
    folder = locate(settings)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"LUPINE_RUN_DIR {folder} is open to others: `chmod 700` it, or name another folder"
        )
    mark = folder / _MARK
    if mark.exists() and mark.read_text() == _me():
        return folder
    held = {entry.name for entry in folder.iterdir()}
    if held and lifeline.SUPERVISOR not in held:
        # It is removed, with all that is in it, when the gateway ends.
        raise ConfigurationError(
            f"LUPINE_RUN_DIR {folder} holds what is no gateway's: name a folder that is new"
        )
    if guardian.is_guarded(folder) or not lifeline.is_gone(folder):
        raise ConfigurationError(f"another gateway uses LUPINE_RUN_DIR {folder}: name another")
    orphan = record.read(folder)
    for name in held:
        left = folder / name
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    if orphan:  # the guardian to come ends the tritonserver that it tells of
        record.write(folder, orphan)
    mark.write_text(_me())
    return folder


def _me() -> str:
    """This process, and no other that ever was: in a container the numbers repeat."""
    return f"{os.getpid()} {psutil.Process().create_time()}"  # which survives `exec`


def abandon(folder: Path) -> None:
    """Remove the folder where nobody else will, being the last of a gateway that was killed."""
    held = (lifeline.SUPERVISOR, lifeline.WORKERS)
    if all(lifeline.is_gone(folder, name) for name in held) and not guardian.is_guarded(folder):
        shutil.rmtree(folder, ignore_errors=True)
