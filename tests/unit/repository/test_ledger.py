from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from service.repository.ledger import Ledger

WRITER = """
import sys
from pathlib import Path
from service.repository.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
for line in sys.stdin:
    verb, *names = line.split()
    if verb == "current":
        print(ledger.current(), flush=True)
    else:
        stamps = [ledger.record(name, loaded=verb == "load") for name in names]
        print(*stamps, flush=True)
"""


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(folder)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0


def tell(process: subprocess.Popen[str], line: str) -> list[int]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return [int(word) for word in process.stdout.readline().split()]


def test_a_new_ledger_knows_of_no_orders(tmp_path: Path) -> None:
    """Everything in the repository is wanted, and the generation is a number."""
    with opened(tmp_path) as ledger:
        assert ledger.orders() == {}
        assert ledger.current() == 0


def test_the_last_order_for_a_model_counts(tmp_path: Path) -> None:
    """Each with a stamp of its own, ever higher."""
    with opened(tmp_path) as ledger:
        stamps = [
            ledger.record("a", loaded=False),
            ledger.record("b", loaded=False),
            ledger.record("a", loaded=True),
        ]
        assert stamps == sorted(set(stamps))
        orders = ledger.orders()
        assert {name: order.loaded for name, order in orders.items()} == {"a": True, "b": False}
        assert orders["a"].stamp == stamps[2]


def test_every_order_and_every_bump_begins_a_generation(tmp_path: Path) -> None:
    """And nothing else does."""
    with opened(tmp_path) as ledger:
        seen = [ledger.current()]
        ledger.record("a", loaded=True)
        seen.append(ledger.current())
        ledger.bump()
        seen.append(ledger.current())
        ledger.orders()
        assert ledger.current() == seen[-1]
        assert len(set(seen)) == 3


def test_orders_outlive_who_gave_them(tmp_path: Path) -> None:
    """A worker that starts anew follows what was ordered before."""
    with opened(tmp_path) as first:
        first.record("a", loaded=False)
        generation = first.current()
    with opened(tmp_path) as second:
        assert not second.orders()["a"].loaded
        assert second.current() == generation


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    """A half-started gateway stops like any other."""
    ledger = Ledger(tmp_path)
    ledger.close()
    ledger.bump()
    ledger.close()
    ledger.close()


def test_two_processes_see_each_others_orders(tmp_path: Path) -> None:
    """At once, without asking the file system for the number."""
    with opened(tmp_path) as here, another_process(tmp_path) as there:
        before = here.current()
        (stamp,) = tell(there, "unload digits")
        assert here.current() != before
        assert here.orders()["digits"].stamp == stamp
        here.record("digits", loaded=True)
        tell(there, "load other")
        assert {n: o.loaded for n, o in here.orders().items()} == {"digits": True, "other": True}
        here.bump()
        assert tell(there, "current") == [here.current()]


def test_orders_given_at_once_are_all_kept(tmp_path: Path) -> None:
    """By two processes and several threads: none overwrites another's."""
    names = [f"n{i}" for i in range(100)]
    with opened(tmp_path) as here, another_process(tmp_path) as there:
        assert there.stdin
        assert there.stdout
        there.stdin.write(f"unload {' '.join('there-' + n for n in names)}\n")
        there.stdin.flush()
        with ThreadPoolExecutor(4) as threads:
            mine = list(threads.map(lambda n: here.record(f"here-{n}", loaded=True), names))
        theirs = [int(word) for word in there.stdout.readline().split()]
        orders = here.orders()
    assert set(orders) == {f"{where}-{n}" for where in ("here", "there") for n in names}
    assert len({*mine, *theirs}) == len(mine) + len(theirs)
