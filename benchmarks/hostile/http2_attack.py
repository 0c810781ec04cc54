"""Runs one trick, in a process of its own, so that it slows nobody who measures.

`python -m benchmarks.hostile.http2_attack NAME HOST PORT SECONDS` prints what it saw, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.hostile.http2_tricks import TRICKS
from benchmarks.hostile.http2_wire import Seen

_GRACE = 10.0  # seconds until an attack that cannot end is cut


async def run(name: str, address: tuple[str, int], seconds: float) -> Seen:
    """Attack for so long."""
    seen = Seen()
    until = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds + _GRACE):
            await TRICKS[name].attack(address, seen, until)
    except TimeoutError:
        pass
    return seen


def main() -> None:
    """Attack as the command line says."""
    name, host, port, seconds = sys.argv[1:]
    seen = asyncio.run(run(name, (host, int(port)), float(seconds)))
    # dataclasses.asdict cannot copy a Counter.
    print(json.dumps({name: getattr(seen, name) for name in Seen.__slots__}))


if __name__ == "__main__":
    main()
