"""HdrHistogram logs: times of every kind, a histogram for each second.

Format 1.3, one line a second and tag, microseconds; any HdrHistogram tool reads it.

Source: HdrHistogram's log format, https://github.com/HdrHistogram/HdrHistogram.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from benchmarks.series import TAGS, Counts, Samples, Series

DIGITS = 3
"""Significant digits of every histogram: values are right to one part in a thousand."""
LONGEST_US = 3_600_000_000

_BROKEN = (
    HdrCookieException,
    HdrHistogramSettingsException,
    HdrLengthException,
    zlib.error,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
)
"""What the library raises at a log that was altered."""


def write(path: Path, name: str, samples: Mapping[str, Samples], seconds: int) -> None:
    """Write a log.

    Args:
        path: of the log.
        name: whose times these are, for whoever looks into the file.
        samples: by tag.
        seconds: as many lines each tag has.
    """
    with path.open("w") as file:
        file.write(f"#[{name}: microseconds, by the second of the intended send]\n")
        file.write("#[Histogram log format version 1.3]\n")
        file.write(
            '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
        )
        for tag in TAGS:
            file.writelines(_log(tag, samples[tag], seconds))


def read(path: Path, seconds: int) -> dict[str, Series]:
    """Read a log.

    Args:
        path: of the log.
        seconds: that it must have of each tag.

    Returns:
        By tag.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is broken, or lacks a second of a tag, or has one twice.
    """
    empty = _histogram()
    highest = np.array(
        [
            empty.get_highest_equivalent_value(empty.get_value_from_index(i))
            for i in range(empty.counts_len)
        ],
        np.int64,
    )
    found: dict[str, dict[int, tuple[Counts, Counts]]] = {tag: {} for tag in TAGS}
    for tag, second, counts in _lines(path, empty):
        if tag not in found or not 0 <= second < seconds or second in found[tag]:
            raise ValueError(f"{path}: a histogram {tag!r} of second {second}")
        places = np.flatnonzero(counts)  # a few of thousands
        found[tag][second] = places, counts[places]
    for tag, lines in found.items():
        if len(lines) != seconds:
            raise ValueError(f"{path} has {len(lines)} histograms {tag!r}, not {seconds}")
    return {tag: _series(highest, lines, seconds) for tag, lines in found.items()}


def _histogram() -> Any:
    """An empty histogram, as all of ours are."""
    return HdrHistogram(1, LONGEST_US, DIGITS)


def _log(tag: str, samples: Samples, seconds: int) -> Iterator[str]:
    """The lines of a log; the library's writer knows no tags."""
    order = np.argsort(samples.seconds, kind="stable")
    begins = np.searchsorted(samples.seconds[order], np.arange(seconds + 1))
    micros = samples.micros[order]
    for second in range(seconds):
        one = _histogram()
        for value in micros[begins[second] : begins[second + 1]].tolist():
            one.record_value(min(max(value, 1), LONGEST_US))
        longest = one.get_max_value() / 1000
        yield f"Tag={tag},{second:.3f},1.000,{longest:.3f},{one.encode().decode()}\n"


def _lines(path: Path, empty: Any) -> Iterator[tuple[str, int, Counts]]:
    """Tag, second and counts of each line.

    Raises:
        ValueError: a line cannot be read.
    """
    reader = HistogramLogReader(str(path), empty)
    try:
        while (one := reader.get_next_interval_histogram()) is not None:
            second = round(one.get_start_time_stamp() / 1000)
            if len(one.counts) != empty.counts_len or one.significant_figures != DIGITS:
                raise ValueError(f"second {second} has other buckets than ours")
            yield one.get_tag(), second, np.ctypeslib.as_array(one.counts).astype(np.int64)
    except _BROKEN as error:
        raise ValueError(f"{path} is broken: {type(error).__name__}: {error}") from None
    finally:
        reader.input_file.close()


def _series(highest: Counts, lines: Mapping[int, tuple[Counts, Counts]], seconds: int) -> Series:
    used = np.unique(np.concatenate([np.empty(0, np.int64), *(p for p, _ in lines.values())]))
    counts = np.zeros((seconds, len(used)), np.int64)
    for second, (places, found) in lines.items():
        counts[second, np.searchsorted(used, places)] = found
    return Series(values=highest[used], counts=counts)
