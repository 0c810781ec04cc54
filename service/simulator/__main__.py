"""`python -m service.simulator [JOBS]`: prints a JSON document, a line for each figure's cell."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

from service.simulator.comparison import cells


def document(number: int) -> Mapping[str, object]:
    """Of one cell, by its number: a policy cannot travel between processes, a number can."""
    return cells()[number].document()


def main() -> int:
    """Simulate every cell, in so many processes."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count() or 1
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(document, range(len(cells()))))
    json.dump(found, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
