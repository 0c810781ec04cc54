from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.telemetry import workers
from tests.unit.telemetry.samples import Worker, buckets, value

REQUESTS = "lupine_request_duration_seconds"
LABELS = {"model": "m", "version": "1", "protocol": "http", "code": "200"}


def files(folder: Path) -> set[str]:
    """What a worker leaves, without what belongs to the folder itself."""
    return {path.name for path in folder.iterdir()} - {"lock", "dead.json"}


def sums(folder: Path) -> dict[str, float]:
    """The sums, by the names of their samples."""
    found: dict[str, float] = {}
    for (_, key), number in workers.read(folder).items():
        found[key] = number
    return found


def test_two_workers_add_up(tmp_path: Path) -> None:
    """Whichever of them is asked, counters, histograms and the gauge are those of both."""
    with Worker(tmp_path) as one, Worker(tmp_path) as other:
        for worker in (one, other, other):
            worker.do("work")
        seen = one.show()
        assert seen == other.show()
        assert value(seen, f"{REQUESTS}_count", **LABELS) == 3
        assert value(seen, f"{REQUESTS}_sum", **LABELS) == pytest.approx(0.06)
        assert value(seen, "lupine_batch_rows_sum", model="m") == 12
        assert value(seen, "lupine_batch_release_total", reason="full") == 3
        assert value(seen, "lupine_queue_duration_seconds_count", model="m") == 6
        assert value(seen, "lupine_shed_total", model="m", reason="permits") == 3
        assert value(seen, "lupine_inflight_requests") == 6
        other.do("inflight", 0)
        assert value(one.show(), "lupine_inflight_requests") == 3
        totals = one.do("totals")
        assert isinstance(totals, dict)
        assert (totals["rows"], totals["failures"]) == (12, 3)


def test_what_a_dead_worker_counted_stays_and_what_it_held_is_gone(tmp_path: Path) -> None:
    """Counters never go back; requests in flight ended with their worker."""
    with Worker(tmp_path) as one:
        with Worker(tmp_path) as dead:
            dead.do("work")
            before = one.show()
            assert value(before, "lupine_inflight_requests") == 3
            dead.kill()
        after = one.show()
        held = ("lupine_inflight_requests", ())
        assert {k: v for k, v in after.items() if k != held} == {
            k: v for k, v in before.items() if k != held
        }
        assert not after.get(held)


def test_the_folder_does_not_grow_with_restarts(tmp_path: Path) -> None:
    """Each worker that starts takes the dead ones' files away, scraped or not."""
    with Worker(tmp_path) as stays:
        stays.do("work")
        alone = files(tmp_path)
        for _ in range(3):
            with Worker(tmp_path) as dead:
                dead.do("work")
                dead.kill()
        assert len(files(tmp_path)) <= 2 * len(alone)  # the last one is still to be folded
        assert value(stays.show(), f"{REQUESTS}_count", **LABELS) == 4
        assert files(tmp_path) == alone
        assert value(stays.show(), f"{REQUESTS}_count", **LABELS) == 4


def test_no_metric_names_a_process(tmp_path: Path) -> None:
    """A label for each worker that ever was would grow without end."""
    with Worker(tmp_path) as one:
        one.do("work")
        assert not [labels for _, labels in one.show() if "pid" in dict(labels)]


def test_workers_that_know_different_slos_still_add_up(tmp_path: Path) -> None:
    """A model's SLO comes, changes and goes: counts rise with `le`, and none is lost or doubled."""
    with Worker(tmp_path) as old, Worker(tmp_path) as plain, Worker(tmp_path) as new:
        old.do("serve", m=0.033)
        new.do("serve", m=0.044)
        for worker in (old, plain, new):
            for seconds in (0.03, 0.04, 0.045):
                worker.do("request", "m", seconds)
        found = buckets(plain.show(), REQUESTS, **LABELS)
        assert found[0.05] == found[float("inf")] == 9
        assert (found[0.033], found[0.044]) == (1, 3)
        for worker in (old, plain, new):
            worker.do("serve", m=0.044)
            for seconds in (0.03, 0.04, 0.045):
                worker.do("request", "m", seconds)
        grown = buckets(old.show(), REQUESTS, **LABELS)
        assert grown[0.044] - found[0.044] == 6  # exact from then on, on every worker
        assert grown[float("inf")] == 18
        old.kill()
        assert buckets(new.show(), REQUESTS, **LABELS) == grown


def test_a_fold_that_was_cut_short_counts_nothing_twice(tmp_path: Path) -> None:
    """Killed after the sums were written, and before the files were gone."""
    folder, copy = tmp_path / "metrics", tmp_path / "copy"
    with Worker(folder) as dead:
        dead.do("work")
        dead.kill()
    shutil.copytree(folder, copy)
    before = sums(folder)
    assert files(folder) == set()
    for path in copy.iterdir():
        if path.suffix in (".db", ".alive"):
            shutil.copy(path, folder)
    (folder / "dead.new").write_bytes(b"half of it")
    assert sums(folder) == before
    assert files(folder) <= {"dead.new"}


def test_another_process_with_a_dead_workers_id_keeps_nothing_alive(tmp_path: Path) -> None:
    """A worker is alive while it holds its lock, whatever became of its number."""
    with Worker(tmp_path) as dead:
        dead.do("work")
        dead.kill()
    (taken,) = tmp_path.glob("*.alive")
    name = f"{os.getpid()}-0"
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace(taken.stem, name)))
    counted = sums(tmp_path)
    assert [number for key, number in counted.items() if "lupine_shed_total" in key] == [1]
    assert not [key for key in counted if "inflight" in key]


def test_a_file_that_its_worker_has_only_just_made_is_read_as_empty(tmp_path: Path) -> None:
    """A worker may be killed between making it and giving it its size."""
    with Worker(tmp_path) as one:
        one.do("work")
        (name,) = (path.stem for path in tmp_path.glob("*.alive"))
        for path in (tmp_path / f"summary_{name}.db", tmp_path / "counter_1-0.db"):
            path.touch()
        assert value(one.show(), "lupine_shed_total", model="m", reason="permits") == 1


def test_scrapes_while_workers_come_and_go_never_see_a_count_go_back(tmp_path: Path) -> None:
    """Several at once, on several workers."""
    with Worker(tmp_path) as one, Worker(tmp_path) as other, ThreadPoolExecutor(2) as pool:

        def scrape(worker: Worker) -> list[float]:
            return [
                value(worker.show(), "lupine_shed_total", model="m", reason="permits") or 0.0
                for _ in range(40)
            ]

        scrapes = [pool.submit(scrape, worker) for worker in (one, other)]
        for _ in range(3):
            with Worker(tmp_path) as dead:
                dead.do("work")
                dead.kill()
        for found in (scrape.result() for scrape in scrapes):
            assert found == sorted(found)
        assert value(one.show(), "lupine_shed_total", model="m", reason="permits") == 3
