"""The metrics of all workers, dead ones included, in the folder that they share.

Each worker counts in files of its own, by prometheus_client's multiprocess mode. What is here in
place of that mode's collector: what a dead worker counted is folded into one file, so that neither
the folder nor a scrape grows with each restart; what it held (a gauge) is dropped.

All of it happens under one file lock. A worker lives as long as it holds the lock on its own
`.alive` file, which the kernel takes from it however it dies: no process id can be mistaken.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from prometheus_client import values
from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.utils import floatToGoString

from service.file_lock import is_held

Values = dict[tuple[str, str], float]
"""(kind, prometheus_client's key of a sample) to its value."""

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the name is prometheus_client's
_LOCK = "lock"
_DEAD = "dead.json"
_KEPT = ("counter", "histogram")


class _Dead(msgspec.Struct):
    """What all the dead counted. The files of `folded` are in it: where some are left, they go."""

    folded: list[str] = []
    counted: list[tuple[str, str, float]] = []


def join(folder: Path) -> None:
    """Let this process count there, from its next metric on, until it ends."""
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    with _locked(folder):
        _fold(folder)
        # Nobody closes it: the end of the process does.
        fcntl.flock(os.open(_alive(folder, name), os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)
    os.environ[_FOLDER] = str(folder)
    # By default each update asks the kernel for the process id, in case of a fork: a fifth of a
    # worker's time. Workers never fork.
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


def shared() -> Path | None:
    """The folder that this process counts in; None where it counts for itself alone."""
    folder = os.environ.get(_FOLDER)
    return Path(folder) if folder else None


def read(folder: Path) -> Values:
    """The sums over all workers that are or were."""
    with _locked(folder):
        found = _fold(folder)
        for path in folder.glob("*.db"):
            _add(found, path)
    return found


def families(found: Values) -> Iterable[Metric]:
    """Sums as metrics: of a histogram, each bucket with all below it."""
    metrics: dict[str, Metric] = {}
    buckets: dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]] = defaultdict(dict)
    for (kind, key), value in found.items():
        family, name, labels, documentation = json.loads(key)
        metric = metrics.get(family)
        if metric is None:
            metric = metrics[family] = Metric(family, documentation, kind)
        edge = labels.pop("le", None) if kind == "histogram" else None
        if edge is None:
            metric.add_sample(name, labels, value)
        else:
            buckets[family, tuple(sorted(labels.items()))][float(edge)] = value
    for (family, labels), counts in buckets.items():
        total = 0.0
        for edge in sorted(counts):
            total += counts[edge]
            le = floatToGoString(edge)  # type: ignore[no-untyped-call]
            metrics[family].add_sample(f"{family}_bucket", {**dict(labels), "le": le}, total)
        metrics[family].add_sample(f"{family}_count", dict(labels), total)
    return metrics.values()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fold(folder: Path) -> Values:
    """Add what the newly dead counted to what the dead have counted, and give the sums."""
    path = folder / _DEAD
    dead = msgspec.json.decode(path.read_bytes(), type=_Dead) if path.exists() else _Dead()
    _remove(folder, dead.folded)  # where the last to fold was killed before it could
    found: Values = defaultdict(float, {(kind, key): value for kind, key, value in dead.counted})
    gone = [name for name in _names(folder) if not is_held(_alive(folder, name))]
    if gone:
        for name in gone:
            for kind in _KEPT:
                _add(found, folder / f"{kind}_{name}.db")
        counted = [(kind, key, value) for (kind, key), value in found.items()]
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(_Dead(folded=gone, counted=counted)))
        fresh.replace(path)  # this alone decides: before it the files count, after it they do not
        _remove(folder, gone)
    return found


def _names(folder: Path) -> set[str]:
    """Of all workers that left a trace."""
    counting = {path.stem.rpartition("_")[2] for path in folder.glob("*.db")}
    return counting.union(path.stem for path in folder.glob("*.alive"))


def _alive(folder: Path, name: str) -> Path:
    return folder / f"{name}.alive"


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        for path in (*folder.glob(f"*_{name}.db"), _alive(folder, name)):
            path.unlink(missing_ok=True)


def _add(found: Values, path: Path) -> None:
    if not path.exists() or not path.stat().st_size:  # its worker has only just made it
        return
    kind = path.stem.partition("_")[0]
    entries = MmapedDict.read_all_values_from_file(path)  # type: ignore[no-untyped-call]
    for key, value, _, _ in entries:
        found[kind, key] += value
