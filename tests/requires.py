"""What a test needs of the host: it skips by name without it, and in CI such a skip fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from benchmarks.harness import namespace
from benchmarks.lock.peers import Peer
from service.runner.runtime import Runtime, default_directory, find_runtime, missing_reason


def require_triton_runtime() -> Runtime:
    """The managed Triton runtime, or a skip that says why there is none."""
    directory = default_directory()
    runtime = find_runtime(directory)
    if runtime is None:
        _lacking(f"managed Triton: {missing_reason(directory)}")
    return runtime


def require_program(name: str) -> str:
    """The path of a program that `make system-deps` installs, or a skip that says so."""
    found = shutil.which(name)
    if found is None:
        _lacking(f"{name}: `make system-deps` installs it")
    return found


def require_namespaces() -> None:
    """Network and mount namespaces, as root or not, or a skip that says why there are none."""
    reason = namespace.trouble()
    if reason:
        _lacking(f"namespaces (`unshare`): {reason}")


def require_peer(peer: Peer) -> None:
    """Both addresses of a peer, or a skip that says which are lacking."""
    if not peer.reaches():
        _lacking(f"{peer.name}: no way from {peer.source or '?'} to {peer.target or '?'} here")


def _lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing may be skipped: {what}")
    pytest.skip(what)
