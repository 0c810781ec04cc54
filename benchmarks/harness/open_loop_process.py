"""The generator's process of `open_loop`: reads an SLA, sends its load, writes what happened."""

# ruff: noqa: E402 - gevent's patches come before everything that they patch
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import sys
from pathlib import Path

import gevent
import numpy as np

from benchmarks import sla as slas
from benchmarks import sla_file
from benchmarks.load.generator import Generator
from benchmarks.load.recorder import Samples

_SLACK_SECONDS = 60.0
_PAUSE = 0.2


def main(folder: Path, url: str, grpc_url: str) -> None:
    """Send the load of `sla.toml`, and leave `rows.npy` and `told.json` beside it."""
    sla = sla_file.load(folder / "sla.toml")
    generator = Generator(sla, folder / "sla.toml", url, grpc_url, lambda *_: None)
    for _ in range(slas.connections(sla.target[0])):
        gevent.spawn(generator.serve, 0, generator.caller(0))
    generator.begin(0, sla.seed, [(0, 1)])
    samples = Samples(1)
    with gevent.Timeout(sla.warmup_seconds + sla.duration_seconds + _SLACK_SECONDS):
        done = False
        while not done:
            gevent.sleep(_PAUSE)
            taken = generator.take()
            samples.put(taken)
            done = taken["done"]
    np.save(folder / "rows.npy", samples.of(0, sla.duration_seconds))
    told = {"fates": samples.fates, "seconds": sla.duration_seconds}
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
