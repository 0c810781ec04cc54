"""Callers that each ask for their own row, over and over, and know what the answer must be."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from benchmarks.harness import mlp

_TOLERANCE = 1e-4  # batching changes low bits
_GIVE_UP = 30.0


@dataclass(slots=True)
class Outcome:
    """What the callers got: a count per status or kind of failure, and the times of the good."""

    counts: Counter[str] = field(default_factory=Counter)
    good: list[float] = field(default_factory=list)  # monotonic seconds of each right answer
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    unhelpful: list[str] = field(default_factory=list)  # a 503 without Retry-After or reason

    def gap(self, since: float) -> float:
        """The longest time without a right answer that began at or after `since`, in seconds."""
        times = sorted(t for t in self.good if t >= since - 0.05)
        return max((b - a for a, b in itertools.pairwise(times)), default=float("inf"))


class Callers:
    """So many callers of `mlp` behind `url`."""

    def __init__(self, url: str, count: int) -> None:
        self._url = f"{url}/v2/models/mlp/infer"
        self._rows = [[random.Random(i).uniform(-1, 1) for _ in range(64)] for i in range(count)]
        self._references: list[list[float]] = []
        self._running = True
        self.outcome = Outcome()

    async def learn(self) -> None:
        """Ask for every row once, alone: the references."""
        async with httpx.AsyncClient(timeout=_GIVE_UP) as client:
            for row in self._rows:
                answer = await client.post(self._url, json=_request(row, ""))
                answer.raise_for_status()
                self._references.append(answer.json()["outputs"][0]["data"])

    async def run(self) -> None:
        """Call until `stop`."""
        await asyncio.gather(*(self._call(i) for i in range(len(self._rows))))

    def stop(self) -> None:
        """Let each caller end after its answer."""
        self._running = False

    async def _call(self, index: int) -> None:
        async with httpx.AsyncClient(timeout=_GIVE_UP) as client:
            turn = 0
            while self._running:
                turn += 1
                begun = time.monotonic()
                try:
                    answer = await client.post(
                        self._url, json=_request(self._rows[index], f"{index}-{turn}")
                    )
                except httpx.TimeoutException:
                    self.outcome.counts["hung"] += 1
                    continue
                except httpx.TransportError as error:
                    self.outcome.counts[type(error).__name__] += 1
                    await asyncio.sleep(0.02)
                    continue
                self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - begun)
                self.outcome.counts[str(answer.status_code)] += 1
                self._judge(index, turn, answer)
                if answer.status_code != httpx.codes.OK:
                    await asyncio.sleep(0.02)

    def _judge(self, index: int, turn: int, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.OK:
            body = answer.json()
            data = body["outputs"][0]["data"]
            off = max(abs(a - b) for a, b in zip(data, self._references[index], strict=True))
            if body["id"] != f"{index}-{turn}" or off > _TOLERANCE:
                self.outcome.wrong.append(f"caller {index}: id {body['id']}, off by {off}")
            self.outcome.good.append(time.monotonic())
        elif "error" not in answer.json() or (
            answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            and "retry-after" not in answer.headers
        ):
            self.outcome.unhelpful.append(f"{answer.status_code}: {answer.text[:200]}")


def _request(row: list[float], identity: str) -> dict[str, object]:
    return {
        "id": identity,
        "inputs": [{"name": mlp.INPUT, "shape": [1, 64], "datatype": "FP32", "data": row}],
    }
