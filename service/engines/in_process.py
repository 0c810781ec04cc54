"""The repository served by this process: what `onnx` and `echo` share.

The engines differ in how they open a model; loading, unloading, versions, the index and the
statistics are the same, and follow Triton's rules.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from service.errors import (
    ConfigurationError,
    InvalidRequestError,
    LupineError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from service.protocol.concat import concat
from service.protocol.messages import ModelState, Parameter, Servable, Snapshot, Tensor
from service.protocol.ports import EachOutputs
from service.protocol.span import Span
from service.repository import config as model_config
from service.repository import layout
from service.repository.ledger import Ledger


class Stop:
    """Tells a run, from another thread, that nobody waits for it any more."""

    __slots__ = ("_act", "_called")

    def __init__(self) -> None:
        self._act: Callable[[], object] | None = None
        self._called = False

    def then(self, act: Callable[[], object]) -> None:
        """What ends the run early; called at most twice."""
        self._act = act
        if self._called:
            act()

    def __call__(self) -> None:
        """Nobody waits any more."""
        self._called = True
        if self._act is not None:
            self._act()


class OpenModel(Protocol):
    """One version in memory."""

    def run(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter],
        stop: Stop,
    ) -> Mapping[str, Tensor]:
        """The named outputs. Runs in a thread; raises EngineError where the input makes it fail."""


Opener = Callable[[dict[str, Any], Path], tuple[dict[str, Any], OpenModel]]
"""(config as written, the version's folder) to (the complete config, the model)."""


class Tally(Protocol):
    """Counts runs, over all workers."""

    def ran(self, model: str, version: str, rows: int, seconds: float, *, ok: bool) -> None:
        """One run of the engine has ended."""

    def totals(self, model: str, version: str) -> Mapping[str, float]:
        """`rows`, `runs`, `seconds`, `failures`, `failure_seconds` since the gateway started."""


@dataclass(slots=True)
class _Loaded:
    servables: dict[str, Servable] = field(default_factory=dict)
    opened: dict[str, OpenModel] = field(default_factory=dict)


class InProcessEngine:
    """Runs models in threads of this process.

    Args:
        name: the engine's word.
        repository: the model repository.
        opener: how a version is brought into memory.
        ledger: what the workers agree on.
        tally: where runs are counted.
        threads: runs at once.
    """

    def __init__(
        self,
        name: str,
        repository: Path,
        opener: Opener,
        ledger: Ledger,
        tally: Tally,
        *,
        threads: int,
    ) -> None:
        self.name = name
        self._repository = repository
        self._open = opener
        self._ledger = ledger
        self._tally = tally
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._loaded: dict[str, _Loaded] = {}
        self._failures: dict[str, str] = {}
        self._generations: dict[str, int] = {}  # of each model: when it was loaded, by the ledger
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Load every model that nobody unloaded. One that cannot be loaded shows in the index."""
        layout.check_repository(self._repository)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"lupine-{self.name}")
        await self.snapshot()

    async def stop(self) -> None:
        """Let go of the models, after the runs that are under way."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)
        self._loaded.clear()

    async def healthy(self) -> bool:
        """It lives as long as this process does."""
        return self._pool is not None

    async def snapshot(self) -> Snapshot:
        """Follow the ledger, then tell what is loaded."""
        async with self._lock:
            names = self._names()
            orders = self._ledger.orders()
            for name in names:
                order = orders.get(name)
                stamp = order.stamp if order is not None else 0
                if self._generations.get(name) == stamp:
                    continue
                if order is not None and not order.loaded:
                    self._forget(name)
                else:
                    with suppress(LupineError):  # the index tells it
                        await self._load(name)
                self._generations[name] = stamp
            return self._tell(names)

    def _names(self) -> list[str]:
        """What the repository holds, and what is loaded still although its folder is gone."""
        try:
            return sorted({*layout.model_names(self._repository), *self._loaded})
        except OSError as error:
            raise UnavailableError(f"the model repository cannot be read: {error}") from None

    async def _load(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._loaded[name] = await loop.run_in_executor(None, self._read, name)
        except LupineError as error:
            self._failures[name] = error.message
            raise
        self._failures.pop(name, None)

    def _forget(self, name: str) -> None:
        self._loaded.pop(name, None)
        self._failures[name] = "unloaded"

    def _read(self, name: str) -> _Loaded:
        try:
            return self._open_versions(name)
        except ConfigurationError as error:
            raise InvalidRequestError(error.message) from None
        except OSError as error:
            raise InvalidRequestError(f"model {name!r} cannot be read: {error}") from None

    def _open_versions(self, name: str) -> _Loaded:
        folder = layout.model_folder(self._repository, name)
        written = model_config.read(folder)
        versions = model_config.chosen_versions(written, layout.versions(folder))
        if not versions:
            raise InvalidRequestError(
                f"model {name!r} has no version: a folder such as {name}/1 is expected"
            )
        loaded = _Loaded()
        for version in map(str, versions):
            config, model = self._open(written, folder / version)
            loaded.servables[version] = replace(
                model_config.servable(config, version), instances=self._threads
            )
            loaded.opened[version] = model
        return loaded

    def _tell(self, names: Sequence[str]) -> Snapshot:
        index = []
        for name in names:
            loaded = self._loaded.get(name)
            if loaded is None:
                reason = self._failures.get(name, "")
                index.append(ModelState(name=name, state="UNAVAILABLE", reason=reason))
            else:
                index += [ModelState(name=name, version=v, state="READY") for v in loaded.servables]
        servables = {name: loaded.servables for name, loaded in self._loaded.items()}
        return Snapshot(index=tuple(index), servables=servables)

    async def infer(
        self,
        servable: Servable,
        inputs: Sequence[Mapping[str, Tensor]],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],
        deadline: float,  # noqa: ARG002 - who waits no longer cancels
        span: Span | None = None,  # noqa: ARG002 - a trace goes on where a wire does
    ) -> Mapping[str, Tensor]:
        """Run one batch in a thread."""
        if self._pool is None:
            raise UnavailableError(f"the {self.name} engine is not running")
        loaded = self._loaded.get(servable.name)
        model = loaded.opened.get(servable.version) if loaded else None
        if model is None:
            raise NotFoundError(
                f"model {servable.name!r} version {servable.version} is not loaded any more"
            )
        stop, joined = Stop(), concat(inputs)
        started = time.perf_counter()
        rows = next((t.shape[0] for t in joined.values() if t.shape), 1)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._pool, model.run, joined, outputs, parameters, stop
            )
        except asyncio.CancelledError:
            stop()  # else it would keep its thread to the end
            raise
        except Exception:
            self._count(servable, rows, started, ok=False)
            raise
        self._count(servable, rows, started, ok=True)
        return answer

    def _count(self, servable: Servable, rows: int, started: float, *, ok: bool) -> None:
        rows = rows if servable.max_batch_size else 1
        seconds = time.perf_counter() - started
        self._tally.ran(servable.name, servable.version, rows, seconds, ok=ok)

    async def infer_each(
        self,
        servable: Servable,
        inputs: Mapping[str, Tensor],  # noqa: ARG002 - as all that follows: none is run
        outputs: Sequence[str],  # noqa: ARG002
        *,
        parameters: Mapping[str, Parameter],  # noqa: ARG002
        deadline: float,  # noqa: ARG002
        each: EachOutputs,  # noqa: ARG002
        span: Span | None = None,  # noqa: ARG002
    ) -> None:
        """No model that runs here is decoupled."""
        raise UnsupportedError(f"model {servable.name!r} is decoupled, which Triton alone runs")

    async def load(self, model: str) -> None:
        """Load it here; the other workers follow before their next request."""
        layout.model_folder(self._repository, model)
        async with self._lock:
            await self._load(model)
            self._generations[model] = self._ledger.record(model, loaded=True)

    async def unload(self, model: str) -> None:
        """Unload it here; the other workers follow before their next request."""
        async with self._lock:
            if model not in self._loaded:
                layout.model_folder(self._repository, model)
            self._forget(model)
            self._generations[model] = self._ledger.record(model, loaded=False)

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """Counted by the gateway itself, in the shape of Triton's ModelStatistics."""
        return [
            _statistics(name, v, self._tally.totals(name, v))
            for name, loaded in self._loaded.items()
            if model in ("", name)
            for v in loaded.servables
            if version in ("", v)
        ]


def _statistics(name: str, version: str, totals: Mapping[str, float]) -> dict[str, Any]:
    runs, failures = int(totals["runs"]), int(totals["failures"])
    spent = {"count": runs, "ns": int(totals["seconds"] * 1e9)}
    failed = {"count": failures, "ns": int(totals["failure_seconds"] * 1e9)}
    return {
        "name": name,
        "version": version,
        "inference_count": int(totals["rows"]),
        "execution_count": runs,
        "inference_stats": {"success": spent, "fail": failed, "compute_infer": spent},
    }
