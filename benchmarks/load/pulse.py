"""The generator watches itself and its host: one `Pulse` a second."""

from __future__ import annotations

import gc
from time import perf_counter, process_time
from typing import Any

import gevent
import psutil

from benchmarks.result import Pulse

_TICK = 0.01  # seconds: how finely the lag of the event loop is seen
_SECOND = 1.0


class Watch:
    """Takes the pulse of this process until it is stopped.

    Args:
        worker: number of this process.
    """

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._pulses: list[Pulse] = []
        self._collecting = 0.0
        self._collected = 0.0
        self._greenlet: Any = None

    def start(self, began: float) -> None:
        """Begin.

        Args:
            began: of `perf_counter`, when the measured time begins.
        """
        gc.callbacks.append(self._on_gc)
        self._greenlet = gevent.spawn(self._run, began)

    def stop(self) -> None:
        """End."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
            gc.callbacks.remove(self._on_gc)

    def take(self) -> list[Pulse]:
        """All since the last call."""
        taken, self._pulses = self._pulses, []
        return taken

    def _on_gc(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collecting = perf_counter()
        else:
            self._collected += perf_counter() - self._collecting

    def _run(self, began: float) -> None:
        at, cpu, host = perf_counter(), process_time(), _host()
        lag = 0.0
        while True:
            slept = perf_counter()
            gevent.sleep(_TICK)
            now = perf_counter()
            lag = max(lag, now - slept - _TICK)
            if now - at < _SECOND:
                continue
            then, self._collected, collected = _host(), 0.0, self._collected
            whole = max(sum(then) - sum(host), 1e-9)
            self._pulses.append(
                Pulse(
                    second=int((at - began) // 1),
                    worker=self._worker,
                    cpu=(process_time() - cpu) / (now - at),
                    lag_ms=lag * 1000,
                    gc_ms=collected * 1000,
                    steal=(then[0] - host[0]) / whole,
                    idle=(then[1] - host[1]) / whole,
                )
            )
            at, cpu, host, lag = now, process_time(), then, 0.0


def _host() -> tuple[float, float, float]:
    """Seconds of all cores: stolen, idle, everything else."""
    times = psutil.cpu_times()
    steal = getattr(times, "steal", 0.0)  # where the system tells
    idle = times.idle + getattr(times, "iowait", 0.0)
    return steal, idle, times.user + times.system + getattr(times, "nice", 0.0)
