"""What a request brings: its body within the limits, as JSON where that is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from service.errors import InvalidRequestError
from service.frontends.http_body import Bodies, Body
from service.frontends.http_call import Call


async def read(bodies: Bodies, call: Call) -> Body:
    """The whole body; the caller lets it go.

    Raises:
        what `Bodies.read` does.
    """
    body = await bodies.read(
        call.receive, call.text(b"content-length"), call.text(b"content-encoding")
    )
    call.received = body.data.nbytes
    return body


async def read_object(bodies: Bodies, call: Call) -> Mapping[str, Any]:
    """The body of a control request: an object, or nothing.

    Raises:
        InvalidRequestError: it is neither.
    """
    body = await read(bodies, call)
    try:
        found = msgspec.json.decode(body.data) if body.data else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the request's JSON: {error}") from None
    finally:
        body.release()
    if not isinstance(found, dict):
        raise InvalidRequestError("the request's JSON is no object")
    return found


def text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Headers as the gate and the webhook read them, by lower-case name."""
    return {k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items()}
