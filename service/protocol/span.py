"""What follows one request through the gateway: its place in a trace, and how it waited.

Source: W3C Trace Context, level 2 (https://www.w3.org/TR/trace-context-2/), section 3.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

# A later version may say more after a further dash; version ff does not exist.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_KNOWN_FLAGS = 0x03  # sampled, random-trace-id: no other may be passed on
# What gRPC carries. More than 512 characters need not be passed on, and Triton refuses a call with
# more than 8 KiB of metadata: nobody shall have a batch refused.
_PASSABLE_STATE = re.compile(r"[\x20-\x7e]{1,2048}")


@dataclass(slots=True, kw_only=True, eq=False)
class Span:
    """One request's span. Those of them that nobody looks at are never made.

    The wire fills in the trace, the batcher the rest. Without a `trace_id` nothing is passed on.
    """

    trace_id: str = ""  # 32 hexadecimal digits, from the caller
    id: str = ""  # 16 hexadecimal digits, ours
    flags: int = 0
    state: str = ""  # the caller's tracestate, untouched
    queued: float | None = None  # seconds until its batch left the queue
    rows: int = 0
    batch_rows: int = 0  # of the run that it was part of

    def context(self) -> tuple[tuple[str, str], ...]:
        """The headers, or gRPC metadata, by which the next server continues the trace."""
        if not self.trace_id:
            return ()
        parent = (TRACEPARENT, f"00-{self.trace_id}-{self.id}-{self.flags:02x}")
        return (parent, (TRACESTATE, self.state)) if self.state else (parent,)


def continued(traceparent: str, tracestate: str = "") -> Span | None:
    """A new span in the caller's trace; None where the header does not name one.

    Args:
        traceparent: the one header of that name; several make none.
        tracestate: all headers of that name, joined by commas.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found["more"] is not None and found["version"] == "00"):
        return None
    return Span(
        trace_id=found["trace"],
        id=f"{random.getrandbits(64) or 1:016x}",
        flags=int(found["flags"], 16) & _KNOWN_FLAGS,
        state=tracestate if _PASSABLE_STATE.fullmatch(tracestate) else "",
    )
