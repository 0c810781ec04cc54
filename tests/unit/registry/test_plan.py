"""What has to be done, decided purely: whatever the registry says or no longer says."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from service.registry import plan
from service.registry.plan import Fetch, Flip, Retire
from service.registry.state import Model, Published, Refusal, State


def published(order: int = 1, *, ours: bool = True) -> Published:
    return Published(sha256="0" * 64, bytes=1, order=order, ours=ours)


def state(**models: Model) -> State:
    return State(models=models)


def model(
    versions: str, before: str = "", held: dict[str, str] | None = None, **routes: str
) -> Model:
    """A model with the versions `1 2 3`, the later the younger."""
    return Model(
        versions={one: published(at) for at, one in enumerate(versions.split(), 1)},
        routes=routes,
        before={"champion": tuple(before.split())},
        held=held or {},
    )


def test_what_an_alias_names_is_fetched_once() -> None:
    """Versions that are here are not fetched, nor one version twice for two aliases."""
    wanted = {"a": {"champion": "2", "challenger": "10", "other": "10"}, "b": {"champion": "1"}}
    assert plan.fetches(wanted, state(a=model("2"))) == [Fetch("a", "10"), Fetch("b", "1")]


def test_refused_versions_wait() -> None:
    """What was refused for good is left alone; what may heal is tried less and less often."""
    wanted = {"a": {"champion": "2", "challenger": "3"}}
    refused = {
        "a/2": Refusal(reason="no", tries=1, final=True),
        "a/3": Refusal(reason="later", tries=4, final=False),
    }
    tried = [poll for poll in range(12) if plan.fetches(wanted, State(refused=refused), poll)]
    assert tried == [0, 4, 8]


def test_an_alias_flips_when_its_version_is_here() -> None:
    """Until then it names what it named; other aliases of the model do not wait for it."""
    known = state(a=model("1 2", champion="1"))
    wanted = {"a": {"champion": "3", "challenger": "2"}}
    assert plan.flips(wanted, known) == [Flip("a", {"champion": "1", "challenger": "2"}, {})]
    assert plan.flips({"a": {"champion": "1"}}, known) == []


def test_a_champion_outlives_its_alias() -> None:
    """The registry may lose the alias, the model or everything: what serves keeps serving."""
    known = state(a=model("1 2", champion="1", challenger="2"))
    assert plan.flips({"a": {"challenger": "2"}}, known) == []
    assert plan.flips({}, known) == []
    assert plan.flips({"a": {}}, known) == [Flip("a", {"champion": "1"}, {})]


def test_a_rollback_holds_until_the_registry_names_another() -> None:
    """The version that was rolled back is not routed again; a newer one is, and the hold ends."""
    known = state(a=model("1 2 3", before="1", held={"champion": "2"}, champion="1"))
    assert plan.flips({"a": {"champion": "2"}}, known) == []
    assert plan.flips({"a": {"champion": "3"}}, known) == [Flip("a", {"champion": "3"}, {})]
    assert plan.flips({"a": {"champion": "1"}}, known) == [Flip("a", {"champion": "1"}, {})]


def test_what_was_champion_is_remembered() -> None:
    """A rollback goes to the version that was champion before, if it is still here."""
    flip = Flip("a", {"champion": "2"}, {})
    after = plan.flipped(model("1 2", champion="1"), flip, order=9)
    assert after.before == {"champion": ("1",)}
    assert after.versions["2"].order == 9
    assert plan.rolled_back(after, "champion") == ("2", "1")
    back = plan.flipped(after, Flip("a", {"champion": "1"}, {"champion": "2"}), order=10)
    assert plan.rolled_back(back, "champion") == ("1", "2")
    other = plan.flipped(after, Flip("a", {**after.routes, "next": "2"}, {}), order=10)
    assert plan.rolled_back(other, "next") is None  # what the champion was is not its own
    moved = plan.flipped(other, Flip("a", {**after.routes, "next": "1"}, {}), order=11)
    assert plan.rolled_back(moved, "next") == ("1", "2")
    gone = msgspec.structs.replace(after, versions={"2": published()})
    assert plan.rolled_back(gone, "champion") is None
    assert plan.rolled_back(model("1"), "champion") is None


def test_old_versions_retire() -> None:
    """The latest `keep` stay, routed ones among them; what the sync did not put there stays too."""
    known = model("1 2 3 4 5", champion="5")
    assert plan.retirements({}, state(a=known), keep=3) == [Retire("a", ["1", "2"])]
    assert plan.retirements({}, state(a=known), keep=5) == []
    old = model("1 2 3 4 5", champion="1")
    assert plan.retirements({}, state(a=old), keep=1) == [Retire("a", ["2", "3", "4", "5"])]
    versions = {**known.versions, "1": published(1, ours=False)}
    foreign = msgspec.structs.replace(known, versions=versions)
    assert plan.retirements({}, state(a=foreign), keep=3) == [Retire("a", ["2"])]


_VERSIONS = st.sampled_from(["1", "2", "3", "10"])
_ALIASES = st.dictionaries(st.sampled_from(["champion", "challenger", "next"]), _VERSIONS)


@given(
    here=st.sets(_VERSIONS),
    wanted=st.dictionaries(st.sampled_from(["a", "b"]), _ALIASES),
    routes=_ALIASES,
    held=_ALIASES,
    keep=st.integers(1, 4),
)
def test_whatever_happens_what_is_routed_is_here(
    here: set[str],
    wanted: dict[str, dict[str, str]],
    routes: dict[str, str],
    held: dict[str, str],
    keep: int,
) -> None:
    """Nothing is routed that is not here, no champion goes, and nothing that is routed retires.

    A second flip right after the first has nothing to do.
    """
    routed = {alias: version for alias, version in routes.items() if version in here}
    versions = {one: published(int(one)) for one in here}
    known = state(a=Model(versions=versions, routes=routed, held=held))
    for flip in plan.flips(wanted, known):
        assert flip.model == "a"
        assert set(flip.routes.values()) <= here
        assert ("champion" in flip.routes) >= ("champion" in routed)
        known = state(a=plan.flipped(known.models["a"], flip, order=99))
    assert plan.flips(wanted, known) == []
    for retire in plan.retirements(wanted, known, keep):
        assert not set(retire.versions) & set(known.models["a"].routes.values())
        assert not set(retire.versions) & set(wanted.get("a", {}).values())
        assert len(here) - len(retire.versions) >= min(keep, len(here))
