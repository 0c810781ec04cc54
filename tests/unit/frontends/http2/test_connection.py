"""What comes on a connection, and what is wrong with it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from service.frontends.http2 import connection, frames
from service.frontends.http2.frames import ErrorCode
from service.frontends.http2.headers import block
from tests.http2_peer import (
    GREETING,
    MAX_HEADER_BYTES,
    REQUEST,
    Server,
    body,
    goaways,
    head,
    resets,
)

PROTOCOL, SIZE = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR
CALM, FLOW = ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.FLOW_CONTROL_ERROR
HEAD, TRAILERS = block([(b":status", b"200")]), block([(b"grpc-status", b"0")])


def raw(length: int, kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame, whatever it says."""
    return frames.header(length, kind, flags, stream) + payload


def joined(*given_: bytes | Frame) -> bytes:
    """Frames as bytes."""
    return b"".join(g if isinstance(g, bytes) else g.serialize() for g in given_)


def test_a_server_says_its_settings_first() -> None:
    """Section 3.4; and what a client may do is among them."""
    settings, window = Server(greeted=False).greeting
    assert isinstance(settings, SettingsFrame)
    assert settings.settings == {3: 1024, 4: 1 << 20, 6: MAX_HEADER_BYTES}
    assert isinstance(window, WindowUpdateFrame)


def test_settings_are_acknowledged_and_pings_answered() -> None:
    """Sections 6.5.3 and 6.7."""
    server = Server(greeted=False)
    (ack,) = server.receive(GREETING)
    assert isinstance(ack, SettingsFrame)
    assert "ACK" in ack.flags
    (pong,) = server.receive(PingFrame(0, b"12345678"))
    assert isinstance(pong, PingFrame)
    assert ("ACK" in pong.flags, pong.opaque_data) == (True, b"12345678")


def test_a_request_in_pieces_is_one_request() -> None:
    """HEADERS and CONTINUATION, padding, a priority, DATA, and trailers that end it."""
    server = Server()
    data = bytes(Encoder().encode([(n, v, True) for n, v in REQUEST]))
    first = HeadersFrame(1, data[:10], pad_length=3, flags=["PADDED", "PRIORITY"], depends_on=3)
    trailers = HeadersFrame(1, block([(b"x-a", b"1")]), flags=["END_HEADERS", "END_STREAM"])
    server.receive(
        first,
        ContinuationFrame(1, data[10:20]),
        ContinuationFrame(1, data[20:], flags=["END_HEADERS"]),
        body(1, b"abc", ends=False),
        trailers,
    )
    assert server.told == [
        ("open", 1, REQUEST),
        ("data", 1, b"abc", False),
        ("data", 1, b"", True),
    ]


def test_unknown_frames_and_priorities_mean_nothing() -> None:
    """Sections 5.5 and 5.3.2."""
    server = Server()
    sent = server.receive(joined(raw(1, 0xFA, 7, 3, b"x"), PriorityFrame(7, depends_on=3), head()))
    assert sent == []
    assert server.told == [("open", 1, REQUEST)]


FATAL: dict[str, tuple[bytes, ErrorCode]] = {
    "an even stream": (joined(head(2)), PROTOCOL),
    "HEADERS on stream 0": (raw(1, 1, 4, 0, b"\x82"), PROTOCOL),
    "DATA on stream 0": (raw(1, 0, 0, 0, b"x"), PROTOCOL),
    "DATA on an idle stream": (joined(body(7, b"x")), PROTOCOL),
    "streams that go down": (joined(head(9), head(3)), ErrorCode.STREAM_CLOSED),
    "RST_STREAM of an idle stream": (raw(4, 3, 0, 7, bytes(4)), PROTOCOL),
    "RST_STREAM on stream 0": (raw(4, 3, 0, 0, bytes(4)), PROTOCOL),
    "RST_STREAM of 3 bytes": (joined(head(), raw(3, 3, 0, 1, bytes(3))), SIZE),
    "SETTINGS on a stream": (raw(0, 4, 0, 1), PROTOCOL),
    "SETTINGS of 5 bytes": (raw(5, 4, 0, 0, bytes(5)), SIZE),
    "an acknowledgement that says something": (raw(6, 4, 1, 0, bytes(6)), SIZE),
    "a push that is neither on nor off": (joined(SettingsFrame(0, settings={2: 2})), PROTOCOL),
    "an initial window beyond 31 bits": (raw(6, 4, 0, 0, b"\0\4" + b"\xff" * 4), FLOW),
    "a largest frame of 0 bytes": (joined(SettingsFrame(0, settings={5: 0})), PROTOCOL),
    "PING on a stream": (raw(8, 6, 0, 1, bytes(8)), PROTOCOL),
    "a PING of 7 bytes": (raw(7, 6, 0, 0, bytes(7)), SIZE),
    "GOAWAY on a stream": (raw(8, 7, 0, 1, bytes(8)), PROTOCOL),
    "a GOAWAY of 7 bytes": (raw(7, 7, 0, 0, bytes(7)), SIZE),
    "PRIORITY on stream 0": (raw(5, 2, 0, 0, bytes(5)), PROTOCOL),
    "a WINDOW_UPDATE of 3 bytes": (raw(3, 8, 0, 0, bytes(3)), SIZE),
    "a WINDOW_UPDATE of nothing": (raw(4, 8, 0, 0, bytes(4)), PROTOCOL),
    "a WINDOW_UPDATE of an idle stream": (raw(4, 8, 0, 7, b"\0\0\0\1"), PROTOCOL),
    "CONTINUATION of nothing": (raw(1, 9, 4, 1, b"\x82"), PROTOCOL),
    "DATA amid a header block": (joined(raw(1, 1, 0, 1, b"\x82"), body(1, b"x")), PROTOCOL),
    "CONTINUATION of another": (joined(raw(1, 1, 0, 1, b"\x82"), raw(0, 9, 4, 3)), PROTOCOL),
    "PUSH_PROMISE from a client": (raw(5, 5, 4, 1, bytes(4) + b"\x82"), PROTOCOL),
    "a frame over the largest": (raw(16_385, 0, 0, 1), SIZE),
    "padding longer than its frame": (joined(head(), raw(3, 0, 8, 1, b"\3\0\0")), PROTOCOL),
    "padding of no length": (joined(head(), raw(0, 0, 8, 1)), PROTOCOL),
    "a priority cut short": (raw(4, 1, 0x24, 1, bytes(4)), SIZE),
    "no HPACK": (joined(HeadersFrame(1, b"\xff" * 20, flags=["END_HEADERS"])),
                 ErrorCode.COMPRESSION_ERROR),
    "a stream that has ended": (joined(head(ends=True), RstStreamFrame(1, 8), body(1, b"x")),
                                ErrorCode.STREAM_CLOSED),
}  # fmt: skip


@pytest.mark.parametrize("name", FATAL)
def test_what_is_wrong_with_a_connection_ends_it_by_its_code(name: str) -> None:
    """GOAWAY, the code that RFC 9113 names, and nothing is read any more."""
    data, code = FATAL[name]
    server = Server()
    assert goaways(server.receive(data)) == [code]
    assert server.connection.done
    assert server.receive(head(11)) == []
    assert ("open", 11, REQUEST) not in server.told


STREAM: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA behind the end": (joined(head(ends=True), body(1, b"x")), ErrorCode.STREAM_CLOSED),
    "HEADERS behind the end": (joined(head(ends=True), head()), ErrorCode.STREAM_CLOSED),
    "trailers that do not end": (joined(head(), HeadersFrame(1, b"", flags=["END_HEADERS"])),
                                 PROTOCOL),
    "pseudo-headers behind the content": (joined(head(), head(ends=True)), PROTOCOL),
    "a WINDOW_UPDATE of nothing": (joined(head(), raw(4, 8, 0, 1, bytes(4))), PROTOCOL),
    "a PRIORITY of 4 bytes": (joined(head(), raw(4, 2, 0, 1, bytes(4))), SIZE),
    "fields that no request has": (joined(head(1, REQUEST[1:])), PROTOCOL),
    "more than the content's length": (
        joined(head(1, (*REQUEST, (b"content-length", b"2"))), body(1, b"abc", ends=False)),
        PROTOCOL,
    ),
    "less than the content's length": (
        joined(head(1, (*REQUEST, (b"content-length", b"2"))), body(1, b"a")), PROTOCOL
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM)
def test_what_is_wrong_with_a_stream_ends_the_stream_alone(name: str) -> None:
    """RST_STREAM; who was asked is told, and the next request is served."""
    data, code = STREAM[name]
    server = Server()
    sent = server.receive(data)
    assert (resets(sent), goaways(sent)) == ([(1, code)], [])
    opened = any(told[0] == "open" for told in server.told)
    assert (("gone", 1) in server.told) is opened
    server.receive(head(3))
    assert server.told[-1] == ("open", 3, REQUEST)


def test_the_first_frame_is_settings() -> None:
    """Section 3.4."""
    server = Server(greeted=False)
    assert goaways(server.receive(frames.PREFACE + joined(head()))) == [PROTOCOL]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", bytes(100)])
def test_what_is_no_http2_is_sent_away(data: bytes) -> None:
    """From its first wrong byte on."""
    assert goaways(Server(greeted=False).receive(data)) == [PROTOCOL]


def test_more_streams_than_are_offered_are_refused_unprocessed() -> None:
    """The client may try them again."""
    server = Server()
    sent: list[Frame] = []
    for number in range(1, 2 * connection.MAX_STREAMS + 4, 2):
        sent += server.receive(head(number))
    refused = [2 * connection.MAX_STREAMS + 1, 2 * connection.MAX_STREAMS + 3]
    assert resets(sent) == [(number, ErrorCode.REFUSED_STREAM) for number in refused]
    assert server.receive(body(refused[0], b"on its way")) == []
    server.receive(RstStreamFrame(1, 8), head(refused[1] + 2))
    assert server.told[-1][:2] == ("open", refused[1] + 2)


def test_a_header_block_is_bounded_before_it_is_whole() -> None:
    """In bytes, and in frames that may be empty."""
    for piece in (b"\0\1a\x7f" * 300, b""):
        server = Server()
        sent = server.receive(HeadersFrame(1, b""))
        for _ in range(200):
            sent += server.receive(ContinuationFrame(1, piece))
        assert goaways(sent) == [CALM]


def test_an_answer_that_comes_early_ends_the_request_too() -> None:
    """Section 8.1: NO_ERROR; what was on its way is taken no notice of, but the window's."""
    server = Server()
    server.receive(head())
    server.connection.out.answer(server.application.streams[1], HEAD, b"x", TRAILERS)
    assert resets(server.sent()) == [(1, ErrorCode.NO_ERROR)]
    assert server.receive(body(1, b"late", ends=False), RstStreamFrame(1, 8)) == []


def test_who_leaves_is_told_of() -> None:
    """One stream, or all of a lost connection."""
    server = Server()
    server.receive(head(1), head(3), head(5), RstStreamFrame(3, 8))
    assert server.told[-1] == ("gone", 3)
    server.connection.lost()
    assert server.told[-2:] == [("gone", 1), ("gone", 5)]


def test_a_drain_answers_what_comes_before_the_client_has_heard() -> None:
    """Section 6.8: two GOAWAYs, a round trip apart."""
    server = Server()
    server.receive(head(1, ends=True))
    server.connection.drain()
    first, ping = server.sent()
    assert isinstance(first, GoAwayFrame)
    assert (first.last_stream_id, first.error_code) == (frames.LAST_STREAM, 0)
    server.receive(head(3, ends=True))
    assert isinstance(ping, PingFrame)
    (second,) = server.receive(PingFrame(0, ping.opaque_data, flags=["ACK"]))
    assert isinstance(second, GoAwayFrame)
    assert (second.last_stream_id, second.error_code) == (3, 0)
    assert server.receive(head(5), body(5, b"x")) == []
    assert [told[1] for told in server.told if told[0] == "open"] == [1, 3]
    assert not server.connection.done
    for number in (1, 3):
        server.connection.out.answer(server.application.streams[number], HEAD, b"x", TRAILERS)
    assert server.connection.done


def _flood(server: Server, data: bytes, times: int) -> list[int]:
    sent: list[Frame] = []
    for _ in range(times):
        sent += server.receive(data)
    return goaways(sent)


FLOODS: dict[str, bytes] = {
    "SETTINGS": joined(SettingsFrame(0, settings={4: 65_535})),
    "acknowledgements of SETTINGS": joined(SettingsFrame(0, flags=["ACK"])),
    "acknowledgements of PING": joined(PingFrame(0, b"12345678", flags=["ACK"])),
    "PRIORITY": joined(PriorityFrame(1, depends_on=3)),
    "WINDOW_UPDATE": joined(WindowUpdateFrame(0, 1)),
    "empty DATA": joined(DataFrame(1, b"")),
    "unknown frames": raw(8, 0xFA, 0, 0, bytes(8)),
    "RST_STREAM of what has ended": joined(RstStreamFrame(1, 8)),
    "GOAWAY": joined(GoAwayFrame(0, 0)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_that_lead_to_nothing_is_ended(name: str) -> None:
    """ENHANCE_YOUR_CALM, after a few thousand."""
    server = Server()
    server.receive(head())
    assert _flood(server, FLOODS[name], 2001) == [CALM]


@pytest.mark.parametrize("wrong", [False, True])
def test_requests_that_are_given_up_over_and_over_are_ended(wrong: bool) -> None:  # noqa: FBT001
    """By RST_STREAM, or by a mistake that makes us send it; after a few hundred."""
    server = Server()
    sent: list[Frame] = []
    opened = 0
    for number in range(1, 1001, 2):
        end = raw(4, 8, 0, number, bytes(4)) if wrong else joined(RstStreamFrame(number, 8))
        sent += server.receive(joined(head(number)) + end)
        opened += not server.connection.done
    assert goaways(sent) == [CALM]
    assert opened < 250


def test_who_is_served_may_give_up_as_well() -> None:
    """Answers earn what resets cost: a client whose deadlines are short loses no connection."""
    server = Server()
    for number in range(1, 40_001, 2):
        sent = server.receive(head(number, ends=True))
        if number % 4 == 1:
            server.connection.out.answer(server.application.streams[number], HEAD, b"x", TRAILERS)
        else:
            sent += server.receive(RstStreamFrame(number, 8))
        server.now += 0.0001
        assert goaways(sent + server.sent()) == []


def test_a_long_conversation_is_no_flood() -> None:
    """Small messages, each answered, and each answer's window given back at once."""
    server = Server()
    server.receive(head())
    for _ in range(20_000):
        sent = server.receive(
            body(1, bytes(20), ends=False), WindowUpdateFrame(0, 20), WindowUpdateFrame(1, 20)
        )
        server.connection.out.data(server.application.streams[1], bytes(20))
        assert goaways(sent + server.sent()) == []


def test_a_window_of_a_byte_at_a_time_is_one() -> None:
    """CVE-2019-9511: each byte of an answer in a frame of its own."""
    server = Server()
    server.receive(SettingsFrame(0, settings={4: 0}), head(ends=True))
    server.connection.out.answer(server.application.streams[1], HEAD, bytes(10_000), TRAILERS)
    assert _flood(server, joined(WindowUpdateFrame(1, 1)), 2100) == [CALM]


def test_pings_may_come_every_ten_seconds_or_between_answers() -> None:
    """GRPC's own rule, and its own word for who breaks it."""
    server = Server()
    for _ in range(10):
        server.now += 10.0
        assert goaways(server.receive(PingFrame(0, bytes(8)))) == []
    for number in range(1, 41, 2):
        sent = server.receive(PingFrame(0, bytes(8)), head(number, ends=True))
        server.connection.out.answer(server.application.streams[number], HEAD, b"x", TRAILERS)
        assert goaways(sent + server.sent()) == []
    sent = [frame for _ in range(4) for frame in server.receive(PingFrame(0, bytes(8)))]
    (fault,) = [frame for frame in sent if isinstance(frame, GoAwayFrame)]
    assert (fault.error_code, fault.additional_data) == (CALM, b"too_many_pings")


# ------------------------------------------------------------------ whatever comes


def _conversation() -> bytes:
    """A valid stream of bytes with something of everything."""
    encoder = Encoder()
    parts: list[bytes | Frame] = [GREETING]
    for number in range(1, 12, 2):
        fields = (*REQUEST, (b"x-n", b"%d" % (number // 4)))
        parts += [
            HeadersFrame(number, bytes(encoder.encode(fields)), flags=["END_HEADERS"]),
            body(number, b"a" * number * 7, ends=False),
            PingFrame(0, b"12345678") if number == 5 else WindowUpdateFrame(0, 10),
            body(number, b"b" * 20) if number % 3 else RstStreamFrame(number, 8),
        ]
    return joined(*parts)


CONVERSATION = _conversation()


def _outcome(chunks: Sequence[bytes]) -> tuple[list[object], bytes]:
    server = Server(greeted=False)
    out = b""
    for chunk in chunks:
        server.connection.receive(chunk, server.now)
        out += b"".join(server.connection.out.take())
    merged: list[object] = list(server.told)
    return merged, out


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=40))
def test_however_the_bytes_are_cut_they_say_the_same(cuts: list[int]) -> None:
    """To the application, and in what is answered."""
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    chunks = [CONVERSATION[a:b] for a, b in itertools.pairwise(edges)]
    assert _outcome(chunks) == _outcome([CONVERSATION])


def test_byte_by_byte_they_say_the_same() -> None:
    """The finest cut of all."""
    assert _outcome([bytes([b]) for b in CONVERSATION]) == _outcome([CONVERSATION])


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_random_bytes_never_raise(chunks: list[bytes]) -> None:
    """They end as GOAWAY, or wait for more."""
    for greeted in (False, True):
        server = Server(greeted=greeted)
        for chunk in chunks:
            server.receive(chunk)


FRAMES = st.tuples(
    st.integers(0, 11), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)
)


@given(st.lists(FRAMES, max_size=30))
def test_random_frames_never_raise(given_: list[tuple[int, int, int, bytes]]) -> None:
    """Amid requests that are well."""
    server = Server()
    server.receive(head(1), head(3, ends=True))
    for kind, flags, number, payload in given_:
        server.receive(raw(len(payload), kind, flags, number, payload))
        stream = server.application.streams.get(number)
        if stream is not None and stream.receiver is not None and flags & 2:
            server.connection.out.answer(stream, HEAD, payload, TRAILERS)
            stream.receiver = None
