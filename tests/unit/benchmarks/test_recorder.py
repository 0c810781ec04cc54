from __future__ import annotations

import numpy as np
import pytest

from benchmarks.load.recorder import RIGHT, SAMPLE, Recorder, Samples, Timing, quantile


def timing(intended: float, service: float = 0.5) -> Timing:
    return Timing(intended=intended, late=0.25, wait=0.125, service=service)


def test_latency_counts_from_the_intended_send() -> None:
    """Waiting for a connection and the generator's own delay are in it."""
    assert timing(3).latency == 0.875


def test_samples_arrive_as_they_were_taken() -> None:
    """With the warm-up's, and those behind the end, left out."""
    recorder, samples = Recorder(), Samples(2)
    for intended in (-0.5, 0.0, 1.5, 9.999, 10.0):
        recorder.add(1, timing(intended))
    samples.put(recorder.take())
    found = samples.of(1, 10.0)
    assert found.dtype == SAMPLE
    assert found["intended"].tolist() == [0.0, 1.5, 9.999]
    assert set(found["latency"].tolist()) == {0.875}
    assert set(found["late"].tolist()) == {0.25}
    assert set(found["wait"].tolist()) == {0.125}
    assert set(found["service"].tolist()) == {0.5}
    assert len(samples.of(0, 10.0)) == 0


def test_taking_leaves_nothing_behind() -> None:
    """Neither samples nor texts come twice."""
    recorder = Recorder()
    recorder.add(0, timing(1), "timeout", "no answer")
    first, second = recorder.take(), recorder.take()
    assert len(first["rows"]) == SAMPLE.itemsize
    assert first["texts"] == [[0, "timeout", ["no answer"]]]
    assert second["rows"] == b""
    assert second["texts"] == []


def test_processes_number_fates_each_in_their_own_way() -> None:
    """Put together, every sample keeps its own, in any order and over several messages."""
    fates = [
        ["timeout", RIGHT, "HTTP 503", "timeout"],
        ["HTTP 503", "wrong answer", RIGHT],
        [RIGHT, RIGHT, "UNAVAILABLE", "timeout"],
    ]
    samples = Samples(1)
    recorders = [Recorder() for _ in fates]
    for again in range(2):
        for worker, (recorder, own) in enumerate(zip(recorders, fates, strict=True)):
            for place, fate in enumerate(own):
                recorder.add(0, timing(100 * again + 10 * worker + place), fate, "why")
            samples.put(recorder.take())
    found = {
        row["intended"].item(): samples.fate(int(row["fate"])) for row in samples.of(0, np.inf)
    }
    assert found == {
        100.0 * again + 10 * worker + place: fate
        for again in range(2)
        for worker, own in enumerate(fates)
        for place, fate in enumerate(own)
    }
    assert samples.asked == [22]
    assert samples.failed == [14]


def test_examples_are_few_and_cut() -> None:
    """Three different ones of each kind and target, however many fail and however long they are."""
    samples = Samples(2)
    for _ in range(2):
        recorder = Recorder()
        for number in range(50):
            recorder.add(0, timing(number), "HTTP 500", f"{number} " + "x" * 1000)
            recorder.add(1, timing(number), "HTTP 500", "y" * 1000)
        samples.put(recorder.take())
    texts = samples.failures.texts
    assert texts.keys() == {(0, "HTTP 500"), (1, "HTTP 500")}
    assert [text[:2] for text in texts[0, "HTTP 500"]] == ["0 ", "1 ", "2 "]
    assert texts[1, "HTTP 500"] == ["y" * 300]
    assert {len(text) for kept in texts.values() for text in kept} == {300}


def test_what_is_shown_meanwhile_is_out_of_the_latest_messages() -> None:
    """So that showing it costs the same however long the run is; the counts are of everything."""
    recorder, samples = Recorder(), Samples(1)
    assert len(samples.lately(0, 0.0)) == 0
    for second in range(-2, 100):
        recorder.add(0, timing(second), RIGHT if second % 10 else "timeout")
        samples.put(recorder.take())
    assert samples.lately(0, 97.0)["intended"].tolist() == [97.0, 98.0, 99.0]
    assert len(samples.lately(0, 0.0)) < 50
    assert samples.asked == [100]
    assert samples.failed == [10]
    assert len(samples.of(0, 100.0)) == 100  # and looking did not change what is kept
    assert len(samples.of(0, 100.0)) == 100


def test_nothing_measured_is_no_error() -> None:
    """An empty message neither."""
    samples = Samples(1)
    assert len(samples.of(0, 10.0)) == 0
    samples.put(Recorder().take())
    assert len(samples.of(0, 10.0)) == 0


@pytest.mark.parametrize(
    ("latencies", "p", "found"),
    [([3, 1, 2], 0.5, 2), ([1], 0.99, 1), (range(100), 0.99, 99), ([1, float("inf")], 1, np.inf)],
)
def test_quantiles_for_a_display(latencies: list[float], p: float, found: float) -> None:
    """Never beyond the longest."""
    assert quantile(latencies, p) == found


def test_no_latencies_have_no_quantile() -> None:
    """And it is no error."""
    assert np.isnan(quantile([], 0.99))
