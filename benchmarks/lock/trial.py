"""Fires verbs at one gateway, and holds each answer and the state after it against the rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.lock.ask import Index, ask
from benchmarks.lock.callers import NOBODY, RIGHT, WRONG, Caller, callers
from benchmarks.lock.peers import FOUR, SIX, Peer, inside
from benchmarks.lock.verbs import ASLEEP, AWAKE, Fate, Verb, plain, verbs

_CONFIG = """
    backend: "onnxruntime" max_batch_size: 8
    input { name: "x" data_type: TYPE_FP32 dims: 3 }
    output { name: "y" data_type: TYPE_FP32 dims: 3 }
"""
_AT_REST = {f"{ASLEEP}/": "UNAVAILABLE", f"{AWAKE}/1": "READY"}


@dataclass(frozen=True, slots=True)
class Door:
    """How a gateway is set up.

    Args:
        host: where it listens.
        key: whether a key is set.
    """

    host: str
    key: bool

    def __str__(self) -> str:
        """As the table names it."""
        return f"{self.host}, {'a key' if self.key else 'no key'}"

    def rule(self, peer: Peer, caller: Caller, verb: Verb) -> Fate:
        """What the verb must be answered."""
        if not verb.gated:
            return verb.permitted
        if self.key:
            return verb.permitted if caller.bears else Fate.UNAUTHENTICATED
        local = self.host in (FOUR, SIX) and peer.local and not caller.forwarded
        return verb.permitted if local else Fate.FORBIDDEN


class Row(NamedTuple):
    """Requests that are counted together."""

    verbs: str
    wire: str
    peer: str
    callers: str


class Trial:
    """One gateway that is tried.

    Args:
        door: how it was set up.
        ports: of HTTP and of gRPC.
    """

    def __init__(self, door: Door, ports: tuple[int, int]) -> None:
        self._door = door
        self._ports = ports
        self._inside = inside(door.host)
        self._index = Index(self._inside, ports[0])
        self._state = self._index.read()
        self.faults: list[str] = []
        self.tallies: dict[Row, Counter[str]] = defaultdict(Counter)
        if self._state != _AT_REST:
            self.faults.append(f"{door}: it begins with {self._state}, not with {_AT_REST}")

    def fire(self, peer: Peer, caller: Caller, verb: Verb) -> str:
        """Send one, put back what it changed, and say what is wrong with it; empty: nothing."""
        due = self._door.rule(peer, caller, verb)
        answer = ask(self._ports, peer, caller.headers, verb)
        state = self._index.read()
        effect = _effect(self._state, verb) if due is Fate.DONE else self._state
        wrong = []
        if answer.fate is not due:
            wrong.append(f"{answer.text:.200}, but {due.value!r} is due")
        if state != effect:
            wrong.append(f"the state was {self._state}, and is {state}")
        if state != self._state:
            self._restore()
        told = answer.fate.value if answer.fate else "something else"
        row = Row(verb.group, verb.wire, peer.name, caller.group)
        self.tallies[row]["WRONG" if wrong else told] += 1
        if not wrong:
            return ""
        fault = f"{self._door}; {peer.name}; {caller.group}, {caller.name}; {verb}: "
        self.faults.append(fault + "; ".join(wrong))
        return self.faults[-1]

    def close(self) -> None:
        """Close the connection that stays."""
        self._index.close()

    def _restore(self) -> None:
        """Undo the load or unload, as one who may; where nobody may, this is the state now."""
        caller = RIGHT if self._door.key else NOBODY
        for verb, model in (("unload", ASLEEP), ("load", AWAKE)):
            undo = Verb(wire="http", group="", target=f"/v2/repository/models/{model}/{verb}")
            ask(self._ports, Peer("", self._inside, self._inside), caller.headers, undo)
        self._state = self._index.read()


def by_caller() -> Iterator[tuple[Caller, Verb]]:
    """The plain verbs, by every caller."""
    for caller in callers():
        for verb in plain():
            if verb.wire == "http" or _carried_by_grpc(caller):
                yield caller, verb


def by_verb(*, behind: bool) -> Iterator[tuple[Caller, Verb]]:
    """Every other verb, by the plain callers.

    Args:
        behind: with the verbs that only the whole gateway knows.
    """
    for verb in verbs():
        if behind or not verb.behind:
            for caller in (NOBODY, WRONG, RIGHT) if verb.gated else (RIGHT,):
                yield caller, verb


def repository(root: Path) -> Path:
    """Two models to load and unload; `asleep` has no version until `wakeable`."""
    for name in (ASLEEP, AWAKE):
        (root / name).mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(_CONFIG)
    (root / AWAKE / "1").mkdir()
    return root


def wakeable(root: Path) -> None:
    """Make `asleep` loadable; nobody looks before it is asked for."""
    (root / ASLEEP / "1").mkdir()


def _effect(state: dict[str, str], verb: Verb) -> dict[str, str]:
    """The index after a load of the one or an unload of the other, whichever it was, if any."""
    if not verb.model:
        return state
    loads = verb.model == ASLEEP
    changed = {f"{ASLEEP}/1": "READY"} if loads else {f"{AWAKE}/": "UNAVAILABLE"}
    gone = f"{ASLEEP}/" if loads else f"{AWAKE}/1"
    return {key: value for key, value in state.items() if key != gone} | changed


def _carried_by_grpc(caller: Caller) -> bool:
    """Whether gRPC takes such values at all."""
    return all(value.isascii() for _, value in caller.headers)
