"""What a client's SETTINGS ask for, and what follows from it for what leaves.

Source: RFC 9113, sections 6.5.1 and 6.5.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.frontends.http2 import frames
from service.frontends.http2.faults import ConnectionFault
from service.frontends.http2.frames import ErrorCode, Setting
from service.frontends.http2.outbound import Outbound
from service.frontends.http2.stream import Stream

_BYTES = 6  # of each setting


def count(payload: bytes) -> int:
    """How many settings a frame has.

    Raises:
        ConnectionFault: one of them is cut short.
    """
    if len(payload) % _BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that are cut short")
    return len(payload) // _BYTES


def apply(payload: bytes, out: Outbound, streams: Sequence[Stream]) -> None:
    """Do as a frame says. What is unknown means nothing.

    Raises:
        ConnectionFault: a value cannot be.
    """
    for key, value in frames.read_settings(payload):
        if key == Setting.HEADER_TABLE_SIZE:
            out.limit_table(value)
        elif key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}")
        elif key == Setting.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond 31 bits")
            out.resize(value, streams)
        elif key == Setting.MAX_FRAME_SIZE:
            if not frames.MAX_FRAME_BYTES <= value <= frames.LARGEST_FRAME_BYTES:
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}"
                )
            out.limit_frames(value)
