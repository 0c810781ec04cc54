"""The kinds of methods that there are, and what answers one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it is made with one
    from service.frontends.grpc_call import Call


@dataclass(frozen=True, slots=True)
class Unary:
    """A method that takes one message and answers with one.

    Args:
        answer: given the message.
    """

    answer: Callable[[bytes, Call], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Streaming:
    """A method that reads and writes as many messages as it likes.

    Args:
        serve: reads and writes them.
        owed: whether the end of the server waits for it.
    """

    serve: Callable[[Call], Awaitable[None]]
    owed: bool = True


Method = Unary | Streaming
