"""What a peer is: where its packages come from, how it is started, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Wire(StrEnum):
    """What a request travels over."""

    JSON = "http-json"
    BINARY = "http-binary"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of its own.

    Args:
        name: of its folder.
        requirements: as pip takes them; the first is what the peer is known for.
    """

    name: str
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a peer is started; every port is free and on loopback.

    Args:
        http: port.
        grpc: port.
        metrics: port.
        programs: the folder of the programs of its environment.
        model: the ONNX file.
        scratch: an empty folder that is removed when it ends.
    """

    http: int
    grpc: int
    metrics: int
    programs: Path
    model: Path
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request, ready to be sent, and how its answer is read.

    Args:
        path: of the URL.
        body: as it is sent; over gRPC the message without its frame.
        headers: of HTTP.
        read: headers (lower case) and body of a good answer to its row, [16]. Raises ValueError,
            KeyError, TypeError or IndexError where there is none.
    """

    path: str
    body: bytes
    headers: Mapping[str, str]
    read: Callable[[Mapping[str, str], bytes], Array]


def _nothing(place: Place) -> None:
    """Most peers need no files."""
    del place


def _no_variables(place: Place) -> Mapping[str, str]:
    del place
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server of the model.

    Args:
        name: in the state file and after `--only`.
        title: in tables.
        configured: how, and on whose advice; one sentence.
        environment: None where it is ours.
        command: that serves, in the foreground.
        ready: the path that answers 200 once it serves.
        word: in its log, once all of it serves; empty where `ready` is enough.
        exchanges: by wire.
        closed: the closed loops that it is measured in: connections (over gRPC: in flight).
        offered: the open loops over JSON, requests a second.
        group: peers of one group run side by side and take turns; the rest idles meanwhile.
        oip: whether our own generator can ask it: it speaks the Open Inference Protocol.
        prepare: writes the files that the command needs.
        variables: of its environment.
        folder: it is started in; None for its scratch.
        patience: seconds after SIGTERM until it is killed: nothing is in flight any more.
    """

    name: str
    title: str
    configured: str
    environment: Environment | None
    command: Callable[[Place], Sequence[str]]
    ready: str
    exchanges: Mapping[Wire, Exchange]
    closed: Mapping[Wire, tuple[int, ...]]
    offered: tuple[int, ...]
    group: str
    word: str = ""
    oip: bool = False
    prepare: Callable[[Place], None] = field(default=_nothing)
    variables: Callable[[Place], Mapping[str, str]] = field(default=_no_variables)
    folder: Path | None = None
    patience: float = 20.0
