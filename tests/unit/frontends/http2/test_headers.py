"""Header fields: what is remembered of them, and which a request may have."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from service.frontends.http2 import headers
from service.frontends.http2.faults import ConnectionFault, MalformedError
from service.frontends.http2.frames import ErrorCode
from service.frontends.http2.headers import Fields, HeaderDecoder
from tests.http2_peer import REQUEST

MAX_BYTES = 1000


class Reading:
    """Counts what is read."""

    def __init__(self) -> None:
        self.count = 0
        self.decoder: HeaderDecoder[dict[bytes, bytes]] = HeaderDecoder(self._read, MAX_BYTES)

    def _read(self, fields: Fields, _size: int) -> dict[bytes, bytes]:
        self.count += 1
        return dict(fields)


def test_a_block_that_changes_nothing_is_decoded_once() -> None:
    """A client that repeats its head costs a look into a dictionary."""
    reading, encoder = Reading(), Encoder()
    first = encoder.encode(REQUEST)  # puts its fields into the table
    again = encoder.encode(REQUEST)  # refers to them
    assert reading.decoder.head(first) == dict(REQUEST)
    found = [reading.decoder.head(again) for _ in range(5)]
    assert found == [dict(REQUEST)] * 5
    assert reading.count == 2


def test_a_change_of_the_table_ends_what_was_remembered() -> None:
    """The same bytes mean something else now."""
    reading, encoder = Reading(), Encoder()
    reading.decoder.head(encoder.encode((*REQUEST, (b"x-a", b"1"))))
    block = encoder.encode((*REQUEST, (b"x-a", b"1")))
    assert reading.decoder.head(block)[b"x-a"] == b"1"
    pushed = encoder.encode((*REQUEST, (b"x-b", b"2")))  # one more entry: all indices move
    reading.decoder.head(pushed)
    with pytest.raises(MalformedError):  # what was :path is another field now
        reading.decoder.head(block)
    assert reading.decoder.head(encoder.encode((*REQUEST, (b"x-a", b"1"))))[b"x-a"] == b"1"


def test_a_table_that_is_emptied_ends_what_was_remembered() -> None:
    """An update of its size is a change too."""
    reading, encoder = Reading(), Encoder()
    reading.decoder.head(encoder.encode(REQUEST))
    block = encoder.encode(REQUEST)
    reading.decoder.head(block)
    encoder.header_table_size = 0
    reading.decoder.head(encoder.encode(REQUEST))
    with pytest.raises(ConnectionFault) as fault:
        reading.decoder.head(block)
    assert fault.value.code is ErrorCode.COMPRESSION_ERROR


def test_what_is_remembered_is_bounded() -> None:
    """However many heads a client thinks of."""
    reading = Reading()
    for i in range(1000):
        fields = [(name, value, True) for name, value in (*REQUEST, (b"x-n", b"%d" % i))]
        reading.decoder.head(Encoder().encode(fields))
    assert len(reading.decoder._remembered) <= 64


def test_far_too_many_fields_end_the_connection() -> None:
    """Before they are all decoded: a few bytes may name a long one over and over."""
    reading, encoder = Reading(), Encoder()
    reading.decoder.head(encoder.encode((*REQUEST, (b"x-a", b"a" * 500))))
    with pytest.raises(ConnectionFault) as fault:
        reading.decoder.head(encoder.encode(REQUEST) + b"\xbe" * 100_000)
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "block", [b"\xff" * 50, b"\xff\x80\x01", b"\x7f" + b"\xff" * 100, b"\x00\x83\xff\xff\xff\x81a"]
)
def test_what_is_no_hpack_ends_the_connection(block: bytes) -> None:
    """Nothing behind it could be understood."""
    with pytest.raises(ConnectionFault) as fault:
        Reading().decoder.head(block)
    assert fault.value.code is ErrorCode.COMPRESSION_ERROR


@given(st.binary(max_size=200))
def test_random_bytes_are_fields_or_a_fault(block: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        Reading().decoder.head(block)
    except (ConnectionFault, MalformedError):
        return


@pytest.mark.parametrize(
    "fields",
    [
        REQUEST[1:],
        (REQUEST[0], *REQUEST),
        (*REQUEST, (b":nobody", b"1")),
        (*REQUEST, (b":status", b"200")),
        (*REQUEST[1:], (b"x-a", b"1"), REQUEST[0]),
        (*REQUEST, (b"X-Upper", b"1")),
        (*REQUEST, (b"x y", b"1")),
        (*REQUEST, (b"", b"1")),
        (*REQUEST, (b"x-a", b"a\0b")),
        (*REQUEST, (b"x-a", b"a\r\nb")),
        (*REQUEST, (b"connection", b"close")),
        (*REQUEST, (b"transfer-encoding", b"chunked")),
        (*REQUEST, (b"te", b"gzip")),
        (*REQUEST[:2], (b":path", b"/a\n"), REQUEST[3]),
    ],
    ids=str,
)
def test_a_malformed_request_is_one(fields: Fields) -> None:
    """RFC 9113, sections 8.2 and 8.3."""
    with pytest.raises(MalformedError):
        headers.check_request(fields)


@pytest.mark.parametrize("more", [(), ((b"te", b"trailers"),), ((b"x-a", b" b "),)])
def test_a_right_request_is_taken(more: Fields) -> None:
    """Blanks around a value are left to whoever reads it."""
    headers.check_request((*REQUEST, *more))


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=40_000)), max_size=4)
)
def test_what_we_encode_is_decoded_by_others(fields: list[tuple[bytes, bytes]]) -> None:
    """And leaves their tables as they were."""
    decoder = Decoder(max_header_list_size=1 << 20)
    assert decoder.decode(headers.block(fields), raw=True) == fields
    assert not decoder.header_table.dynamic_entries


@given(st.binary(max_size=200))
def test_the_overlong_table_size_that_we_announce_is_understood(value: bytes) -> None:
    """RFC 7541, section 4.2: a client that has no table hears that we use none."""
    decoder = Decoder()
    decoder.max_allowed_table_size = 0
    block = headers.FORGET + headers.literal(b"x-a", value)
    assert decoder.decode(block, raw=True) == [(b"x-a", value)]
