"""Runs one topic, and brings its tables in `docs/performance.md` up to date.

`python -m benchmarks.evidence first-table`
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.harness import tables
from benchmarks.harness.record import FOLDER


def topics() -> list[str]:
    """The topics that there are, as `make evidence-<topic>` takes them."""
    modules = (path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return sorted(name.replace("_", "-") for name in modules)


def main() -> int:
    """Run the topic that the command line names; its exit status is ours."""
    if len(sys.argv) != 2 or sys.argv[1] not in topics():
        print(f"usage: python -m benchmarks.evidence TOPIC, one of: {', '.join(topics())}")
        return 2
    module = importlib.import_module(f"benchmarks.evidence.{sys.argv[1].replace('-', '_')}")
    status = int(module.main())
    tables.PAGE.write_text(tables.fill(tables.PAGE.read_text(), FOLDER))
    return status


if __name__ == "__main__":
    sys.exit(main())
