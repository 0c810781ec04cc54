"""Windows, in both directions (RFC 9113, section 5.2)."""

from __future__ import annotations

from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from service.frontends.http2 import connection, frames, stream
from service.frontends.http2.frames import ErrorCode
from service.frontends.http2.headers import block
from tests.http2_peer import Server, body, goaways, head, resets

HEAD = block([(b":status", b"200")])
TRAILERS = block([(b"grpc-status", b"0")])
WINDOW = frames.DEFAULT_WINDOW


def content(sent: list[Frame], number: int = 1) -> int:
    """Bytes of content sent on a stream."""
    return sum(len(f.data) for f in sent if isinstance(f, DataFrame) and f.stream_id == number)


def updates(sent: list[Frame]) -> dict[int, int]:
    """Increments told, by stream."""
    found: dict[int, int] = {}
    for frame in sent:
        if isinstance(frame, WindowUpdateFrame):
            found[frame.stream_id] = found.get(frame.stream_id, 0) + frame.window_increment
    return found


def answered(server: Server, size: int, number: int = 1) -> None:
    """Answer a request with so many bytes."""
    server.connection.out.answer(server.application.streams[number], HEAD, bytes(size), TRAILERS)


def test_a_small_answer_is_three_frames_at_once() -> None:
    """Its head, its content, its trailers."""
    server = Server()
    server.receive(head(ends=True))
    answered(server, 100)
    first, second, third = server.sent()
    assert isinstance(first, HeadersFrame)
    assert "END_STREAM" not in first.flags
    assert isinstance(second, DataFrame)
    assert isinstance(third, HeadersFrame)
    assert {"END_STREAM", "END_HEADERS"} <= set(third.flags)
    assert server.fields(first) == {b":status": b"200"}
    assert server.connection.streams == 0


def test_an_answer_waits_for_the_stream_and_for_the_connection() -> None:
    """And goes on with whichever window opens last; its end comes behind it."""
    server = Server()
    server.receive(head(ends=True))
    answered(server, WINDOW + 1000)
    sent = server.sent()
    assert content(sent) == WINDOW
    assert max(len(f.data) for f in sent if isinstance(f, DataFrame)) <= frames.MAX_FRAME_BYTES
    assert server.connection.out.unsent == 1000
    assert content(server.receive(WindowUpdateFrame(1, 5000))) == 0
    assert content(server.receive(WindowUpdateFrame(0, 400))) == 400
    last = server.receive(WindowUpdateFrame(0, 10_000))
    assert content(last) == 600
    assert isinstance(last[-1], HeadersFrame)
    assert "END_STREAM" in last[-1].flags
    assert server.connection.streams == server.connection.out.unsent == 0


def test_streams_share_the_window_in_turns() -> None:
    """A large answer does not keep a small one waiting."""
    server = Server()
    server.receive(head(1, ends=True), head(3, ends=True))
    answered(server, 1 << 20, 1)
    answered(server, 1000, 3)
    assert content(server.sent(), 3) == 1000


def test_a_smaller_initial_window_may_leave_a_window_below_nothing() -> None:
    """Section 6.9.2: it has to be earned back before more is sent."""
    server = Server()
    server.receive(head(ends=True))
    answered(server, 2 * WINDOW)
    server.sent()
    server.receive(WindowUpdateFrame(0, 1 << 20))
    assert content(server.receive(SettingsFrame(0, settings={4: 10}))) == 0
    assert server.application.streams[1].window == 10 - WINDOW
    assert content(server.receive(WindowUpdateFrame(1, WINDOW))) == 10


def test_a_larger_initial_window_lets_waiting_streams_go_on() -> None:
    """Without a WINDOW_UPDATE of theirs."""
    server = Server()
    server.receive(SettingsFrame(0, settings={4: 0}))
    server.receive(head(ends=True))
    answered(server, 100)
    assert content(server.sent()) == 0
    assert content(server.receive(SettingsFrame(0, settings={4: 60}))) == 60


def test_larger_frames_are_sent_to_who_takes_them() -> None:
    """SETTINGS_MAX_FRAME_SIZE."""
    server = Server()
    server.receive(
        SettingsFrame(0, settings={4: 1 << 20, 5: 1 << 20}), WindowUpdateFrame(0, 1 << 20)
    )
    server.receive(head(ends=True))
    answered(server, 50_000)
    assert [len(f.data) for f in server.sent() if isinstance(f, DataFrame)] == [50_000]


def test_a_window_beyond_31_bits_is_refused() -> None:
    """Of a stream: the stream; of the connection, and of all streams at once: the connection."""
    server = Server()
    server.receive(head())
    sent = server.receive(WindowUpdateFrame(1, frames.MAX_WINDOW))
    assert resets(sent) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    sent = server.receive(WindowUpdateFrame(0, frames.MAX_WINDOW))
    assert goaways(sent) == [ErrorCode.FLOW_CONTROL_ERROR]
    server = Server()
    server.receive(head(), WindowUpdateFrame(1, 1000))
    sent = server.receive(SettingsFrame(0, settings={4: frames.MAX_WINDOW}))
    assert goaways(sent) == [ErrorCode.FLOW_CONTROL_ERROR]


def test_what_has_been_read_opens_the_windows_again() -> None:
    """A request may be larger than any window."""
    server = Server()
    server.receive(head())
    told: dict[int, int] = {}
    piece = bytes(frames.MAX_FRAME_BYTES)
    for _ in range(2 * connection.CONNECTION_WINDOW // len(piece)):
        for number, increment in updates(server.receive(body(1, piece, ends=False))).items():
            told[number] = told.get(number, 0) + increment
    assert told[1] > connection.CONNECTION_WINDOW
    assert told[0] > connection.CONNECTION_WINDOW


def test_what_nobody_reads_keeps_its_window_closed() -> None:
    """And who sends beyond it loses the stream, not the connection."""
    server = Server(reads=False)
    server.receive(head())
    piece = bytes(frames.MAX_FRAME_BYTES)
    for _ in range(stream.INITIAL_WINDOW // len(piece)):
        assert 1 not in updates(server.receive(body(1, piece, ends=False)))
    sent = server.receive(body(1, b"x", ends=False))
    assert resets(sent) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    assert server.told[-1] == ("gone", 1)
    assert goaways(server.receive(head(3))) == []


def test_padding_counts_and_is_given_back() -> None:
    """Section 6.1."""
    server = Server(reads=False)
    server.receive(head())
    frame = DataFrame(1, b"abc", pad_length=200, flags=["PADDED"])
    server.receive(frame)
    assert server.told[-1] == ("data", 1, b"abc", False)
    found = server.application.streams[1]
    assert (found.inbound, found.read) == (stream.INITIAL_WINDOW - 204, 201)


def test_while_the_edge_is_full_nothing_more_leaves() -> None:
    """It waits as if for a window."""
    server = Server()
    server.receive(head(ends=True))
    server.connection.out.pause(paused=True)
    answered(server, 100)
    assert content(server.sent()) == 0
    server.connection.out.pause(paused=False)
    assert content(server.sent()) == 100


def test_who_lets_too_much_wait_can_ask_for_no_more() -> None:
    """Its streams are refused unprocessed, until it takes its answers."""
    server = Server()
    server.receive(head(ends=True))
    answered(server, connection.MAX_UNSENT + WINDOW + 1)
    server.sent()
    assert resets(server.receive(head(3, ends=True))) == [(3, ErrorCode.REFUSED_STREAM)]
    server.receive(RstStreamFrame(1, 8))
    assert server.connection.out.unsent == 0
    assert resets(server.receive(head(5, ends=True))) == []


def test_a_client_without_a_table_hears_that_we_use_none() -> None:
    """Once, at the beginning of the next block."""
    server = Server()
    server.receive(SettingsFrame(0, settings={1: 0}))
    server.receive(head(1, ends=True), head(3, ends=True))
    answered(server, 1, 1)
    answered(server, 1, 3)
    found = [frame.data for frame in server.sent() if isinstance(frame, HeadersFrame)]
    assert sorted(found) == sorted([b"\x20" + HEAD, HEAD, TRAILERS, TRAILERS])
    assert found[0] == b"\x20" + HEAD
