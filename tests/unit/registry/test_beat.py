"""What the sync counts, and how it is shown to Prometheus."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.registry import beat
from service.registry.beat import Beat
from service.registry.exposition import exposition
from service.registry.state import Model, Published, Refusal, State, StateFolder


def model(routes: dict[str, str], *versions: str) -> Model:
    """A model with these versions, of 10 bytes each."""
    return Model(
        routes=routes,
        versions={one: Published(sha256="", bytes=10, order=1) for one in versions},
    )


BEFORE = State(models={"a": model({"champion": "1"}, "1", "2")})
AFTER = State(models={"a": model({"champion": "3"}, "1", "3"), "b": model({}, "1")})


def test_a_poll_is_counted_by_what_it_changed() -> None:
    """Two versions came, one went, and one alias moved."""
    found = beat.after(Beat(), BEFORE, AFTER, now=7.0, well=True)
    assert found == Beat(
        at=7.0, well_at=7.0, polls=1, fetched=2, fetched_bytes=20, flipped=1, retired=1
    )


def test_a_poll_that_went_wrong_leaves_the_time_of_the_last_good_one() -> None:
    """An alert looks at that."""
    found = beat.after(Beat(at=5.0, well_at=5.0, polls=1), AFTER, AFTER, now=9.0, well=False)
    assert (found.at, found.well_at, found.polls, found.failed) == (9.0, 5.0, 2, 1)


def test_the_metrics_are_what_is_on_disk(tmp_path: Path) -> None:
    """Nothing where nobody synced; a beat that was torn counts from the start."""
    assert exposition(tmp_path) == b""
    folder = StateFolder(tmp_path)
    refused = {"a/9": Refusal(reason="bad", tries=1, final=True)}
    folder.write(State(models=AFTER.models, refused=refused, registry="is away"))
    beat.write(tmp_path, beat.after(Beat(), BEFORE, AFTER, now=7.0, well=True))
    found = samples(exposition(tmp_path))
    assert found["lupine_sync_fetched_bytes_total"] == 20
    assert found["lupine_sync_last_success_timestamp_seconds"] == 7.0
    assert found["lupine_sync_models"] == 2
    assert found["lupine_sync_refused_versions"] == 1
    assert found["lupine_sync_registry_up"] == 0
    (tmp_path / "beat.json").write_bytes(b'{"at": ')
    assert samples(exposition(tmp_path))["lupine_sync_polls_total"] == 0


def samples(text: bytes) -> dict[str, float]:
    """Every sample by its name."""
    families = text_string_to_metric_families(text.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}
