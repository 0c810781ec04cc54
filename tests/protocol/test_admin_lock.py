"""Who may change what is served, verb by verb on both wires: the table of the evidence, in process.

`make evidence-admin-lock` fires it at `lupine serve`, with what BentoML answers beside it.
"""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from benchmarks.lock import kinds
from benchmarks.lock.callers import KEY, NOBODY, RIGHT, Caller, callers
from benchmarks.lock.peers import ALL, ALL_FOUR, FOUR, SIX, Peer, peers
from benchmarks.lock.trial import Door, Trial, by_caller, by_verb, repository, wakeable
from benchmarks.lock.verbs import Fate, Verb, plain, verbs
from service.frontends import openapi
from tests.requires import require_peer
from tests.serving import serving, settings

DOORS = [Door(host, key) for host in (FOUR, SIX, ALL_FOUR, ALL) for key in (False, True)]
TRIES = [(door, peer) for door in DOORS for peer in peers(door.host)]
FEWER = [(door, peer) for door, peer in TRIES if peer.source == peer.target]

TrialOf = Callable[[Door], Trial]


@pytest.fixture(scope="module")
def trial_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialOf]:
    """The gateway that is set up so, started when it is first tried."""
    started: dict[Door, Trial] = {}
    with ExitStack() as stack:

        def start(door: Door) -> Trial:
            if ":" in door.host:
                require_peer(Peer("IPv6", SIX, SIX))
            models = repository(tmp_path_factory.mktemp("models"))
            chosen = settings(models, admin_key=KEY if door.key else "", server={"host": door.host})
            gateway = stack.enter_context(serving(chosen, tmp_path_factory.mktemp("run")))
            trial = Trial(door, (gateway.port, gateway.grpc_port))
            stack.callback(trial.close)
            wakeable(models)
            return trial

        def trial_of(door: Door) -> Trial:
            if door not in started:
                started[door] = start(door)
            return started[door]

        yield trial_of


def _faults(trial: Trial, peer: Peer, cases: Iterable[tuple[Caller, Verb]]) -> list[str]:
    return [fault for caller, verb in cases if (fault := trial.fire(peer, caller, verb))]


def _name(value: Door | Peer) -> str:
    return str(value) if isinstance(value, Door) else value.name


@pytest.mark.parametrize(("door", "peer"), TRIES, ids=_name)
def test_load_and_unload_answer_those_alone_who_may(
    trial_of: TrialOf, door: Door, peer: Peer
) -> None:
    """By the key, or from loopback to loopback with no proxy between; else nothing has changed."""
    require_peer(peer)
    assert not _faults(trial_of(door), peer, by_caller())


@pytest.mark.parametrize(("door", "peer"), FEWER, ids=_name)
def test_no_other_spelling_verb_or_parameter_opens_the_lock(
    trial_of: TrialOf, door: Door, peer: Peer
) -> None:
    """Nor does the key open what is offered to nobody: `config` and `file:*` among it."""
    require_peer(peer)
    assert not _faults(trial_of(door), peer, by_verb(behind=False))


def test_a_machine_is_asked_from_outside_over_ipv4_at_least() -> None:
    """Else the tests above would have tried loopback alone."""
    outside = [peer for peer in peers(ALL_FOUR) if not peer.local]
    for peer in outside or [Peer("not loopback", "", "")]:
        require_peer(peer)


def test_the_rule_lets_nobody_in_from_outside_without_the_key() -> None:
    """What the answers above are held against, said once more in the words of the promise."""
    for door, peer in TRIES:
        for caller in callers():
            if not (peer.local or (door.key and caller.bears)):
                assert {door.rule(peer, caller, verb) for verb in plain()} <= {
                    Fate.UNAUTHENTICATED,
                    Fate.FORBIDDEN,
                }
    local = Peer("", FOUR, FOUR)
    assert {Door(FOUR, key=False).rule(local, NOBODY, verb) for verb in plain()} == {Fate.DONE}
    assert {Door(ALL, key=True).rule(local, RIGHT, verb) for verb in plain()} == {Fate.DONE}


def test_every_rpc_reads_changes_or_is_never_offered() -> None:
    """A new one in the protocol must be classified, and what it changes be tried."""
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    known = {name for name in kinds.RPCS if name.startswith(f"{kinds.SERVICE}/")}
    assert set(kinds.rpcs([service])) == known
    tried = {verb.target for verb in (*plain(), *verbs()) if verb.wire == "grpc"}
    assert {name for name, kind in kinds.RPCS.items() if kind is not kinds.Kind.READS} <= tried


def test_every_documented_path_reads_or_changes() -> None:
    """A new one must be classified; what is beside the protocol is BentoML's."""
    found = set(kinds.paths(openapi.document()))
    assert found == set(kinds.PATHS) - {"post /identify"}


def test_bentoml_has_one_task_and_it_changes_nothing() -> None:
    """No mounted application, and none of the routes that a task in the background has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what BentoML's own imports meet
        service: Any = importlib.import_module("service.bento").Gateway
    assert {(api.route, api.is_task) for api in service.apis.values()} == {("/identify", False)}
    assert not service.mount_apps


def test_no_case_is_there_twice() -> None:
    """Each verb and each caller is its own."""
    assert Counter((*plain(), *verbs())).most_common(1)[0][1] == 1
    assert Counter((caller.group, caller.name) for caller in callers()).most_common(1)[0][1] == 1
