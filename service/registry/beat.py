"""What the sync has done since it was first started: for the metrics, and for `lupine sync status`.

A file of its own, beside the state: it is written with every poll, and losing it loses nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from service.registry.state import State

_FILE = "beat.json"


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """Counts, and times in seconds since 1970."""

    at: float = 0.0  # of the last poll
    well_at: float = 0.0  # of the last poll that found nothing wrong
    polls: int = 0
    failed: int = 0  # polls that found something wrong
    fetched: int = 0  # versions
    fetched_bytes: int = 0
    flipped: int = 0  # aliases
    retired: int = 0  # versions


def read(folder: Path) -> Beat:
    """What is noted; nothing where there is no such file, or a torn one."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Beat)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return Beat()


def write(folder: Path, beat: Beat) -> None:
    """Replace what is noted, at once and whole."""
    staged = folder / f"{_FILE}.new"
    staged.write_bytes(msgspec.json.encode(beat))
    staged.replace(folder / _FILE)


def after(beat: Beat, before: State, state: State, *, now: float, well: bool) -> Beat:
    """The beat after a poll that found `before` and left `state`. Pure."""
    fetched = {
        (name, version): one.bytes
        for name, model in state.models.items()
        for version, one in model.versions.items()
        if one.ours and (name not in before.models or version not in before.models[name].versions)
    }
    return Beat(
        at=now,
        well_at=now if well else beat.well_at,
        polls=beat.polls + 1,
        failed=beat.failed + (not well),
        fetched=beat.fetched + len(fetched),
        fetched_bytes=beat.fetched_bytes + sum(fetched.values()),
        flipped=beat.flipped + len(_routes(state) - _routes(before)),
        retired=beat.retired + len(_versions(before) - _versions(state)),
    )


def _routes(state: State) -> set[tuple[str, str, str]]:
    return {(n, a, v) for n, model in state.models.items() for a, v in model.routes.items()}


def _versions(state: State) -> set[tuple[str, str]]:
    return {(n, v) for n, model in state.models.items() for v in model.versions}
