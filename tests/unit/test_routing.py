from __future__ import annotations

import asyncio

import pytest

from service.errors import InvalidRequestError, LupineError, NotFoundError, UnavailableError
from service.protocol.messages import ModelState, Snapshot
from service.protocol.routes import Canary, ModelRoutes, Routes
from service.routing import Catalogue, pick
from tests.unit.doubles import LocalGeneration, TinyEngine, servable, snapshot

SERVED = snapshot(
    servable("digits", "2"),
    servable("digits", "10"),
    servable("digits", "9"),
    servable("solo", "1"),
    index=[
        ModelState(name="broken", state="UNAVAILABLE", reason="the graph is no graph"),
        ModelState(name="resting"),
    ],
)


def refusal(kind: type[LupineError], name: str, version: str = "") -> LupineError:
    with pytest.raises(kind) as refused:
        pick(SERVED, name, version)
    assert len(refused.value.message) < 700
    return refused.value


def test_a_bare_name_is_the_highest_version_by_number() -> None:
    """10 is higher than 9, although no string comparison says so."""
    assert pick(SERVED, "digits", "").version == "10"


def test_a_version_pins() -> None:
    """The one that was named answers."""
    assert pick(SERVED, "digits", "9").version == "9"


def test_an_unknown_model_is_not_found_by_name() -> None:
    """The refusal names it."""
    assert "no model 'digit'" in refusal(NotFoundError, "digit").message


def test_an_unknown_version_is_not_found_beside_the_known_ones() -> None:
    """In the order of their numbers."""
    text = refusal(NotFoundError, "digits", "3").message
    assert "'digits' has no version '3'" in text
    assert "2, 9, 10" in text


@pytest.mark.parametrize("version", ["latest", "-1", "1.0", " 2", "²", "٣"])
def test_a_version_that_is_no_number_is_refused(version: str) -> None:
    """Digits of other scripts included."""
    text = refusal(InvalidRequestError, "digits", version).message
    assert repr(version) in text
    assert "whole number" in text


def test_an_unknown_alias_is_not_found_by_name() -> None:
    """The model is known, its alias is not."""
    text = refusal(NotFoundError, "digits@challenger").message
    assert "'digits' has no alias 'challenger'" in text


def test_a_model_that_could_not_be_loaded_is_unavailable_with_its_reason() -> None:
    """It exists, so it is not NotFound; a later try may find it loaded."""
    error = refusal(UnavailableError, "broken")
    assert "the graph is no graph" in error.message
    assert error.retry_after


def test_a_model_that_was_never_loaded_is_unavailable() -> None:
    """Without a reason there is none to tell."""
    assert refusal(UnavailableError, "resting").message == "model 'resting' is not loaded"


def test_long_names_are_shown_in_part() -> None:
    """Whatever comes in by the path."""
    refusal(NotFoundError, "x" * 10_000)
    refusal(NotFoundError, "digits@" + "x" * 10_000)
    refusal(NotFoundError, "digits", "9" * 10_000)
    refusal(InvalidRequestError, "digits", "x" * 10_000)


async def test_a_lookup_asks_the_engine_once_a_generation() -> None:
    """Requests do not poll the engine."""
    engine, generation = TinyEngine(servable()), LocalGeneration()
    catalogue = Catalogue(engine, generation)
    for _ in range(3):
        assert (await catalogue.resolve("m", "")).name == "m"
    assert engine.snapshots == 1
    generation.bump()
    await catalogue.resolve("m", "")
    assert engine.snapshots == 2


async def test_what_another_worker_changed_shows_at_the_next_lookup() -> None:
    """The generation is shared, and so is the engine behind it."""
    engine, generation = TinyEngine(servable(version="1")), LocalGeneration()
    here, there = Catalogue(engine, generation), Catalogue(engine, generation)
    assert (await here.resolve("m", "")).version == "1"
    engine.serves = snapshot(servable(version="2"))
    await there.changed()
    assert (await here.resolve("m", "")).version == "2"
    assert here.versions("m") == ["2"]


async def test_lookups_that_meet_a_new_generation_together_ask_once() -> None:
    """Those that arrive while one asks wait for its answer, or for the next."""
    engine = TinyEngine(servable())
    catalogue = Catalogue(engine, LocalGeneration())
    await asyncio.gather(*(catalogue.resolve("m", "") for _ in range(100)))
    assert engine.snapshots <= 2


async def test_a_change_during_the_question_is_asked_again() -> None:
    """A snapshot never counts for a generation that began after it was asked for."""
    generation = LocalGeneration()

    class Changing(TinyEngine):
        async def snapshot(self) -> Snapshot:
            found = await super().snapshot()
            if self.snapshots == 1:
                self.serves = snapshot(servable(version="2"))
                generation.bump()
            return found

    catalogue = Catalogue(Changing(servable(version="1")), generation)
    await catalogue.refresh()
    assert (await catalogue.resolve("m", "")).version == "2"


async def test_an_engine_that_cannot_be_asked_leaves_what_was_known() -> None:
    """The old snapshot goes on serving."""

    class Away(TinyEngine):
        async def snapshot(self) -> Snapshot:
            if self.snapshots:
                raise UnavailableError("away")
            return await super().snapshot()

    catalogue = Catalogue(Away(servable()), LocalGeneration())
    await catalogue.refresh()
    with pytest.raises(UnavailableError):
        await catalogue.snapshot()
    assert (await catalogue.resolve("m", "")).name == "m"
    assert catalogue.knows("m")


async def test_only_names_that_were_ready_are_known() -> None:
    """So that metrics get no label from a client."""
    engine = TinyEngine(servable())
    engine.serves = snapshot(servable(), index=[ModelState(name="broken", state="UNAVAILABLE")])
    catalogue = Catalogue(engine, LocalGeneration())
    await catalogue.refresh()
    assert catalogue.knows("m")
    assert not catalogue.knows("broken")
    assert not catalogue.knows("anything")
    assert catalogue.versions("anything") == []


ALIASES = Routes(
    models={
        "digits": ModelRoutes(aliases={"champion": "2", "challenger": "10", "old": "1"}),
        "solo": ModelRoutes(aliases={"challenger": "1"}),
    }
)


def test_a_bare_name_is_the_champion() -> None:
    """However high the other versions are: a challenger that is loaded takes no traffic."""
    assert pick(SERVED, "digits", "", ALIASES).version == "2"
    assert pick(SERVED, "digits@champion", "", ALIASES).version == "2"
    assert pick(SERVED, "digits@challenger", "", ALIASES).version == "10"
    assert pick(SERVED, "digits", "9", ALIASES).version == "9"


@pytest.mark.parametrize(
    ("kind", "name", "version", "told"),
    [
        (NotFoundError, "digits@next", "", "no alias 'next': there is challenger, champion, old"),
        (NotFoundError, "solo", "", "no alias 'champion': there is challenger"),
        (NotFoundError, "nothing@champion", "", "no model 'nothing@champion' is known"),
        (UnavailableError, "digits@old", "", "version 1, which the alias 'old' names, is not load"),
        (UnavailableError, "broken@champion", "", "'broken' is not loaded: the graph is no graph"),
        (InvalidRequestError, "digits@champion", "2", "names an alias, and version '2' comes with"),
    ],
)
def test_what_an_alias_does_not_name(
    kind: type[LupineError], name: str, version: str, told: str
) -> None:
    """An unknown alias is not found beside the known ones; a known one may name what is gone."""
    with pytest.raises(kind, match=told):
        pick(SERVED, name, version, ALIASES)


class Written:
    """Routes that a test writes anew."""

    def __init__(self, version: str) -> None:
        self.version = version

    def read(self) -> Routes:
        """As they are."""
        return Routes(models={"digits": ModelRoutes(aliases={"champion": self.version})})


async def test_every_worker_follows_a_flip_before_its_next_request() -> None:
    """The generation tells them; until it changes an answer may come from either."""
    engine = TinyEngine(servable("digits", "1"), servable("digits", "2"))
    generation, routes = LocalGeneration(), Written("1")
    workers = [Catalogue(engine, generation, routes=routes) for _ in range(2)]
    assert {(await one.resolve("digits", "")).version for one in workers} == {"1"}
    routes.version = "2"
    await workers[0].changed()
    assert not workers[1].fresh()
    assert {(await one.resolve("digits", "")).version for one in workers} == {"2"}


def test_a_canary_answers_its_share_and_always_the_same_callers() -> None:
    """One request in twenty, by what it is called; who names an alias gets what it names."""
    canary = Canary(version="10", share=0.05)
    routed = ModelRoutes(aliases={"champion": "2", "challenger": "10"}, canary=canary)
    routes = Routes(models={"digits": routed})
    answered = {
        key: pick(SERVED, "digits", "", routes, key).version for key in map(str, range(4000))
    }
    share = sum(version == "10" for version in answered.values()) / len(answered)
    assert 0.04 < share < 0.06
    assert answered == {key: pick(SERVED, "digits", "", routes, key).version for key in answered}
    drawn = [pick(SERVED, "digits", "", routes).version for _ in range(4000)]
    assert 0.03 < drawn.count("10") / len(drawn) < 0.07
    assert {pick(SERVED, "digits@champion", "", routes, key).version for key in answered} == {"2"}
    grown = Routes(
        models={
            "digits": ModelRoutes(aliases=routed.aliases, canary=Canary(version="10", share=0.5))
        }
    )
    for key, version in answered.items():
        assert version == "2" or pick(SERVED, "digits", "", grown, key).version == "10"


def test_a_canary_that_is_not_loaded_answers_nothing() -> None:
    """The champion does."""
    canary = Canary(version="77", share=1.0)
    routes = Routes(models={"digits": ModelRoutes(aliases={"champion": "2"}, canary=canary)})
    assert pick(SERVED, "digits", "", routes, "x").version == "2"
