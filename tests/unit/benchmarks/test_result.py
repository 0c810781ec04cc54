from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from benchmarks import histogram_log, result
from benchmarks.result import Pulse, Run, TargetTotals
from benchmarks.series import LATENCY, SERVICE, TAGS, Samples, Series

SECONDS = 4


def totals(seconds: int = SECONDS, **changes: Any) -> TargetTotals:
    plain = TargetTotals(
        failed=(0,) * seconds,
        failures={},
        examples=(),
        unsent=0,
        server={"0.1": 3.0, "inf": 4.0},
        server_batches={},
        server_queue={},
    )
    return msgspec.structs.replace(plain, **changes)


def run(number: int = 1, **targets: TargetTotals) -> Run:
    return Run(
        number=number,
        seed=9,
        began="2026-11-25T10:00:00+00:00",
        seconds=float(SECONDS),
        workers=2,
        complete=True,
        problem="",
        pulses=(Pulse(-1, 0, 0.5, 1.5, 0.1, 0.0, 0.25),),
        connect_ms=(1.25,),
        targets=targets,
    )


def samples(seed: int, size: int = 2000) -> dict[str, Samples]:
    """Of each tag other values, from a microsecond to beyond the hour that a histogram holds."""
    random = np.random.default_rng(seed)
    return {
        tag: Samples(
            random.integers(0, SECONDS, size),
            np.ceil(10 ** random.uniform(0, 9.9, size)).astype(np.int64),
        )
        for tag in TAGS
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One repetition of one target."""
    result.write(tmp_path, run(a=totals()), {"a": samples(1)})
    return tmp_path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """Every count in its second and tag, and every value within one part in a thousand."""
    told = totals(
        failed=(0, 2, 0, 1), failures={"HTTP 503": 3}, examples=("HTTP 503: x",), unsent=7
    )
    written = {"a": samples(1), "b, über HTTP": samples(2)}
    one = run(2, **{"a": totals(), "b, über HTTP": told})
    assert result.write(tmp_path, one, written) == tmp_path / "run-2"
    (read,) = result.read(tmp_path)
    assert read.run == one
    assert list(read.targets) == ["a", "b, über HTTP"]
    for name, target in read.targets.items():
        for tag in TAGS:
            series, sent = target.series[tag], written[name][tag]
            assert series.total == len(sent.micros)
            assert series.counts.shape == (SECONDS, len(series.values))
            for second in range(SECONDS):
                found = np.repeat(series.values, series.counts[second])
                right = np.sort(
                    np.minimum(sent.micros[sent.seconds == second], histogram_log.LONGEST_US)
                )
                assert (found >= right).all()  # never told shorter than it was
                assert (found <= right * 1.001 + 1).all()
    other = read.targets["b, über HTTP"]
    assert other.failed.tolist() == [0, 2, 0, 1]
    assert other.asked.sum() == 2000 + 3
    assert (other.failures, other.examples, other.unsent) == ({"HTTP 503": 3}, ("HTTP 503: x",), 7)
    assert other.server == {0.1: 3.0, np.inf: 4.0}


def test_repetitions_come_in_their_order(tmp_path: Path) -> None:
    """The tenth after the ninth."""
    for number in (10, 9, 1):
        result.write(tmp_path, run(number, a=totals()), {"a": samples(number, 5)})
    assert [one.run.number for one in result.read(tmp_path)] == [1, 9, 10]


def test_nothing_measured_is_no_error(tmp_path: Path) -> None:
    """All its seconds are there, and empty."""
    nothing = Samples(np.empty(0, np.int64), np.empty(0, np.int64))
    result.write(tmp_path, run(a=totals()), {"a": dict.fromkeys(TAGS, nothing)})
    (read,) = result.read(tmp_path)
    assert read.targets["a"].series[LATENCY].counts.shape == (SECONDS, 0)
    assert read.targets["a"].asked.tolist() == [0] * SECONDS
    assert read.targets["a"].series[LATENCY].over(1).tolist() == [0] * SECONDS


def test_any_tool_for_histogram_logs_reads_ours(folder: Path) -> None:
    """The library's own reader, and all tags together."""
    reader = HistogramLogReader(str(folder / "run-1" / "a.hlog"), HdrHistogram(1, 10**10, 3))
    everything = HdrHistogram(1, histogram_log.LONGEST_US, histogram_log.DIGITS)
    tags = set()
    while (one := reader.get_next_interval_histogram()) is not None:
        tags.add(one.get_tag())
        assert one.get_end_time_stamp() - one.get_start_time_stamp() == 1000
        everything.add(one)
    reader.input_file.close()
    assert tags == set(TAGS)
    assert everything.get_total_count() == 2000 * len(TAGS)


def cut(text: str) -> str:
    return text[: len(text) * 2 // 3]


def shorn(text: str) -> str:
    return text.rsplit("\n", 2)[0] + "\n"


def twice(text: str) -> str:
    return text + text.rsplit("\n", 2)[1] + "\n"


def moved(text: str) -> str:
    return text.replace("Tag=wait,3.000", "Tag=wait,2.000")


def beyond(text: str) -> str:
    return text.replace("Tag=wait,3.000", "Tag=wait,4.000")


def renamed(text: str) -> str:
    return text.replace("Tag=wait,3.000", "Tag=wit,3.000")


def flipped(text: str) -> str:
    middle = text.index("HISTF") + 60
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]


def coarse(text: str) -> str:
    other = HdrHistogram(1, histogram_log.LONGEST_US, 2)
    other.record_value(77)
    return re.sub(r"HISTF\S+", other.encode().decode(), text, count=1)


@pytest.mark.parametrize("alter", [cut, shorn, twice, moved, beyond, renamed, flipped, coarse])
def test_an_altered_log_is_refused(alter: Callable[[str], str], folder: Path) -> None:
    """With the name of the file."""
    log = folder / "run-1" / "a.hlog"
    text = log.read_text()
    assert alter(text) != text
    log.write_text(alter(text))
    with pytest.raises(ValueError, match=r"a\.hlog"):
        result.read(folder)


def test_any_flipped_letter_is_seen(folder: Path) -> None:
    """Whatever the library makes of it, it ends as one kind of error, or changes nothing."""
    log = folder / "run-1" / "a.hlog"
    text, before = log.read_text(), result.read(folder)[0].targets["a"].series
    begin = text.index("HISTF")
    for place in np.random.default_rng(3).integers(begin, text.index("\n", begin), 40).tolist():
        log.write_text(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
        try:
            after = result.read(folder)[0].targets["a"].series
        except ValueError:
            continue
        assert all(np.array_equal(after[tag].counts, before[tag].counts) for tag in TAGS)


def test_a_folder_without_a_run_is_none(tmp_path: Path) -> None:
    """Nor is one whose run was described by somebody else."""
    with pytest.raises(FileNotFoundError, match="holds no run-1"):
        result.read(tmp_path)
    (tmp_path / "run-1").mkdir()
    with pytest.raises(FileNotFoundError):
        result.read(tmp_path)
    (tmp_path / "run-1" / "run.json").write_text("{}")
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        result.read(tmp_path)


def test_a_report_may_hold_what_it_was_compared_with(folder: Path) -> None:
    """In a folder of its own; none is no error."""
    assert result.baseline(folder) == []
    result.write(folder / result.BASELINE, run(3, a=totals()), {"a": samples(1)})
    assert [one.run.number for one in result.baseline(folder)] == [3]
    assert [one.run.number for one in result.read(folder)] == [1]


def test_digests_are_of_all_raw_files_and_of_nothing_else(folder: Path) -> None:
    """Also of the baseline's; a log of Locust's is no raw file."""
    result.write(folder / result.BASELINE, run(a=totals()), {"a": samples(1)})
    (folder / "run-1" / "locust.log").touch()
    (folder / "report.json").touch()
    found = result.digests(folder)
    assert list(found) == [
        *("baseline/run-1/a.hlog", "baseline/run-1/run.json", "run-1/a.hlog", "run-1/run.json"),
    ]
    (folder / "run-1" / "a.hlog").write_text("")
    changed = result.digests(folder)
    assert [name for name in found if found[name] != changed[name]] == ["run-1/a.hlog"]


def test_over_counts_what_is_longer_than_a_limit() -> None:
    """By the second; a limit on the edge of a bucket is kept by it."""
    series = Series(
        values=np.array([500, 1000, 2001, 90_000]),
        counts=np.array([[1, 2, 3, 4], [0, 0, 0, 5]]),
    )
    assert series.total == 15
    assert series.over(0.4).tolist() == [10, 5]
    assert series.over(1).tolist() == [7, 5]
    assert series.over(2).tolist() == [7, 5]
    assert series.over(2.001).tolist() == [4, 5]
    assert series.over(90).tolist() == [0, 0]


def test_what_was_never_sent_is_in_no_service_time(tmp_path: Path) -> None:
    """Tags need not have equally many samples."""
    few = samples(1, 10) | {SERVICE: Samples(np.array([2]), np.array([5]))}
    result.write(tmp_path, run(a=totals()), {"a": few})
    (read,) = result.read(tmp_path)
    assert read.targets["a"].series[SERVICE].total == 1
    assert read.targets["a"].series[LATENCY].total == 10
