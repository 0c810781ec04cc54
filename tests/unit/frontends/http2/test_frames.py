"""Frames, held against another library's."""

from __future__ import annotations

from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from service.frontends.http2 import frames
from service.frontends.http2.frames import ErrorCode, Setting
from tests.http2_peer import parsed

STREAMS = st.integers(1, frames.LAST_STREAM)


@given(STREAMS, st.binary(max_size=300))
def test_data_is_framed_as_others_frame_it(stream: int, payload: bytes) -> None:
    """Length, type, flags and stream."""
    theirs = DataFrame(stream, payload, flags=["END_STREAM"]).serialize()
    assert frames.frame(frames.DATA, frames.END_STREAM, stream, payload) == theirs


@given(STREAMS, st.sampled_from(ErrorCode), st.integers(1, frames.MAX_WINDOW))
def test_what_controls_is_framed_as_others_frame_it(
    stream: int, code: ErrorCode, increment: int
) -> None:
    """RST_STREAM, WINDOW_UPDATE and GOAWAY."""
    assert frames.rst_stream(stream, code) == RstStreamFrame(stream, code).serialize()
    theirs = WindowUpdateFrame(stream, increment).serialize()
    assert frames.window_update(stream, increment) == theirs
    (found,) = parsed(frames.goaway(stream, code, "why"))
    assert isinstance(found, GoAwayFrame)
    told = (found.last_stream_id, found.error_code, found.additional_data)
    assert told == (stream, code, b"why")


@given(st.dictionaries(st.sampled_from(Setting), st.integers(0, 2**32 - 1)))
def test_settings_are_read_as_they_were_written(given_: dict[Setting, int]) -> None:
    """And as another library reads them."""
    data = frames.settings(given_)
    (found,) = parsed(data)
    assert isinstance(found, SettingsFrame)
    assert found.settings == given_
    assert dict(frames.read_settings(data[frames.HEADER_BYTES :])) == given_


def test_a_header_of_the_largest_frame_keeps_its_length() -> None:
    """24 bits, of which the first 8 are apart."""
    _, length = Frame.parse_frame_header(
        memoryview(frames.header(frames.LARGEST_FRAME_BYTES, frames.DATA, 0, 1))
    )
    assert length == frames.LARGEST_FRAME_BYTES
