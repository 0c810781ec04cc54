"""One RPC as the gRPC frontend sees it: who asks, with what, and how it is refused."""

from __future__ import annotations

import math
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc

from service.errors import LupineError
from service.frontends import identity, status

REQUEST_ID = "x-request-id"
_DETAIL_BYTES = 2000  # what a client takes as headers is limited, 8 KiB by default


class Call:
    """One RPC, and its way back.

    Args:
        context: grpc.aio's.
    """

    __slots__ = ("context", "metadata", "request_id")

    def __init__(self, context: Any) -> None:
        self.context = context
        # Of a key given twice the last counts. Keys that end in -bin have bytes for values.
        self.metadata: dict[str, str] = {
            key: value for key, value in context.invocation_metadata() if isinstance(value, str)
        }
        self.request_id = identity.request_id(self.metadata.get(REQUEST_ID, "").encode()).decode()
        context.set_trailing_metadata(((REQUEST_ID, self.request_id),))

    @property
    def peer(self) -> str:
        """The address at the other end; empty where it has none."""
        return peer_address(self.context.peer())

    @property
    def timeout(self) -> float | None:
        """Seconds that the client still waits; None: it did not say."""
        left: float | None = self.context.time_remaining()
        return None if left is None or math.isinf(left) else left

    async def refuse(self, error: LupineError) -> NoReturn:
        """End the RPC with the failure's status and reason."""
        await self.abort(status.GRPC[type(error)], error.message, *status.pushback(error))

    async def abort(
        self, code: grpc.StatusCode, details: str, *trailers: tuple[str, str]
    ) -> NoReturn:
        """End the RPC with a status."""
        await self.context.abort(
            code, shortened(details), ((REQUEST_ID, self.request_id), *trailers)
        )
        raise AssertionError("abort returns to nobody")


def shortened(details: str) -> str:
    """A reason that fits among a client's headers."""
    return details.encode()[:_DETAIL_BYTES].decode(errors="ignore")


def peer_address(peer: str) -> str:
    """The address in gRPC's name for a peer, such as `ipv4:192.0.2.7:1234`; empty for others.

    Source: "gRPC Name Resolution" (grpc/doc/naming.md), the forms `ipv4` and `ipv6`.
    """
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].strip("[]")
