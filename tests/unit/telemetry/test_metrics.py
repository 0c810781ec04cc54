from __future__ import annotations

from service.protocol.messages import Policy
from service.telemetry import Telemetry
from tests.unit.doubles import servable, snapshot
from tests.unit.telemetry.samples import buckets, read, value

REQUESTS = "lupine_request_duration_seconds"


def ask(telemetry: Telemetry, model: str, *durations: float, code: str = "200") -> None:
    for seconds in durations:
        telemetry.request(model=model, version="1", protocol="http", code=code, seconds=seconds)


def labels(model: str, code: str = "200") -> dict[str, str]:
    return {"model": model, "version": "1", "protocol": "http", "code": code}


def test_every_metric_of_the_contract_is_there() -> None:
    """By its name, type suffixes included."""
    telemetry = Telemetry()
    ask(telemetry, "m", 0.02)
    telemetry.batch_released(servable(), [0.001], "idle_engine")
    telemetry.run_sent(servable(), 4)
    telemetry.shed("m", "permits")
    telemetry.inflight(1)
    names = {name for name, _ in read(telemetry.exposition().decode())}
    assert {
        "lupine_request_duration_seconds_bucket",
        "lupine_queue_duration_seconds_bucket",
        "lupine_batch_rows_bucket",
        "lupine_batch_release_total",
        "lupine_shed_total",
        "lupine_inflight_requests",
    } <= names


def test_a_request_is_counted_under_its_labels() -> None:
    """Model, version, protocol and code; the sum is of seconds."""
    telemetry = Telemetry()
    ask(telemetry, "m", 0.02, 0.2)
    samples = read(telemetry.exposition().decode())
    assert value(samples, f"{REQUESTS}_count", **labels("m")) == 2
    assert value(samples, f"{REQUESTS}_sum", **labels("m")) == 0.22
    assert value(samples, f"{REQUESTS}_bucket", **labels("m"), le="0.025") == 1


def test_a_batch_is_counted_by_what_released_it() -> None:
    """A run that left no queue has no reason."""
    telemetry = Telemetry()
    for reason in ("full", "idle_engine", "full", ""):
        telemetry.batch_released(servable(), [0.0], reason)
    samples = read(telemetry.exposition().decode())
    assert value(samples, "lupine_batch_release_total", reason="full") == 2
    assert value(samples, "lupine_batch_release_total", reason="idle_engine") == 1
    assert value(samples, "lupine_batch_release_total", reason="") is None
    assert value(samples, "lupine_queue_duration_seconds_count", model="m") == 4


def test_a_model_has_a_bucket_edge_at_its_slo_and_others_do_not() -> None:
    """What took exactly so long met it."""
    telemetry = Telemetry()
    telemetry.serving(snapshot(servable("slow", policy=Policy(slo_p99=0.0333)), servable("plain")))
    for model in ("slow", "plain"):
        ask(telemetry, model, 0.03, 0.0333, 0.034)
    text = telemetry.exposition().decode()
    samples = read(text)
    assert 'le="0.0333"' in text
    assert buckets(samples, REQUESTS, **labels("slow"))[0.0333] == 2
    assert 0.0333 not in buckets(samples, REQUESTS, **labels("plain"))


def test_an_slo_that_comes_later_is_an_edge_from_then_on() -> None:
    """Of label sets that are there already too; nothing that was counted is lost."""
    telemetry = Telemetry()
    ask(telemetry, "m", 0.03, 0.07)
    telemetry.serving(snapshot(servable(policy=Policy(slo_p99=0.033))))
    ask(telemetry, "m", 0.032, 0.034)
    ask(telemetry, "m", 0.032, code="500")
    samples = read(telemetry.exposition().decode())
    found = buckets(samples, REQUESTS, **labels("m"))
    assert (found[0.025], found[0.033], found[0.05], found[0.075]) == (0, 1, 3, 4)
    assert buckets(samples, REQUESTS, **labels("m", "500"))[0.033] == 1


def test_an_slo_that_is_an_edge_already_changes_nothing() -> None:
    """A quarter of a second is one for every model."""
    telemetry = Telemetry()
    telemetry.serving(snapshot(servable("m", policy=Policy(slo_p99=0.25)), servable("plain")))
    ask(telemetry, "m", 0.25)
    ask(telemetry, "plain", 0.25)
    samples = read(telemetry.exposition().decode())
    with_slo, without = (buckets(samples, REQUESTS, **labels(m)) for m in ("m", "plain"))
    assert with_slo == without
    assert with_slo[0.25] == 1


def test_runs_of_an_engine_add_up_to_its_totals() -> None:
    """Failures apart, and rows of the good ones alone."""
    telemetry = Telemetry()
    telemetry.ran("m", "1", 4, 0.5, ok=True)
    telemetry.ran("m", "1", 2, 0.25, ok=True)
    telemetry.ran("m", "1", 9, 0.125, ok=False)
    telemetry.ran("m", "2", 9, 9.0, ok=True)
    assert telemetry.totals("m", "1") == {
        "rows": 6, "runs": 2, "seconds": 0.75, "failures": 1, "failure_seconds": 0.125,
    }  # fmt: skip
    assert set(telemetry.totals("nobody", "1").values()) == {0.0}


def test_two_gateways_in_one_process_count_apart() -> None:
    """No metric is global."""
    one, other = Telemetry(), Telemetry()
    one.shed("m", "permits")
    ask(one, "m", 0.1)
    assert b'reason="permits"' in one.exposition()
    assert b'model="m"' not in other.exposition()
