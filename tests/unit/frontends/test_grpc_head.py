"""What the head of a call says, and how an answer says what went wrong."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote

import grpc
import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequestError, TooLargeError
from service.frontends import grpc_head
from service.frontends.grpc_head import CallHead
from service.frontends.http2.faults import MalformedError
from service.frontends.http2.headers import list_bytes

FIELDS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)


def read(*more: tuple[bytes, bytes], limit: int = 4096) -> CallHead:
    """A good head with more fields, of which the last counts."""
    fields = (*FIELDS, *more)
    return grpc_head.read(fields, list_bytes(fields), limit)


def test_a_call_says_what_it_is() -> None:
    """Path, deadline, encodings, and the caller's own metadata."""
    found = read(
        (b"grpc-timeout", b"20m"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-accept-encoding", b"identity, gzip"),
        (b"user-agent", b"grpc-x/1"),
        (b"x-a", b"1"),
        (b"x-b-bin", b"AAE,Ag=="),
        (b"x-request-id", b"r-1"),
        (b"content-length", b"7"),
    )
    assert (found.path, found.timeout, found.encoding, found.length) == ("/a.B/C", 0.02, "gzip", 7)
    assert found.accepts == {"identity", "gzip"}
    assert found.metadata == (
        ("user-agent", "grpc-x/1"),
        ("x-a", "1"),
        ("x-b-bin", b"\x00\x01"),
        ("x-b-bin", b"\x02"),
        ("x-request-id", "r-1"),
    )
    assert (found.request_id, found.traced, found.refusal, found.http) == (b"r-1", False, None, 0)
    assert read((b"traceparent", b"x")).traced


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 4e-3), (b"5u", 5e-6), (b"6n", 6e-9),
     (b"99999999S", 99_999_999), (b"0n", 0)],
)  # fmt: skip
def test_a_timeout_has_a_unit(given_: bytes, seconds: float) -> None:
    """And up to eight digits."""
    assert read((b"grpc-timeout", given_)).timeout == pytest.approx(seconds)


@pytest.mark.parametrize("given_", [b"", b"1", b"x", b"-1S", b"1.5S", b"123456789S", b"1 S"])
def test_a_timeout_that_is_none_is_refused(given_: bytes) -> None:
    """Not taken for no deadline."""
    refusal = read((b"grpc-timeout", given_)).refusal
    assert isinstance(refusal, InvalidRequestError)
    assert "grpc-timeout" in refusal.message


def test_metadata_that_is_no_base64_is_refused() -> None:
    """By its name."""
    refusal = read((b"x-a-bin", b"!!!")).refusal
    assert isinstance(refusal, InvalidRequestError)
    assert "x-a-bin" in refusal.message


def test_more_metadata_than_is_taken_is_refused() -> None:
    """As HTTP/2 counts it."""
    size = list_bytes(FIELDS)
    assert read(limit=size).refusal is None
    assert isinstance(read(limit=size - 1).refusal, TooLargeError)


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"]
)
def test_content_types_of_grpc_are_taken(kind: bytes) -> None:
    """With or without what they carry."""
    assert read((b"content-type", kind)).http == 0


@pytest.mark.parametrize(
    "kind", [b"", b"text/plain", b"application/grpc-web+proto", b"application/grpcx"]
)
def test_other_content_types_are_answered_as_http(kind: bytes) -> None:
    """As the protocol asks."""
    assert read((b"content-type", kind)).http == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    assert read((b":method", b"GET")).http == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"1,1", b"9" * 30])
def test_a_length_that_is_no_number_makes_no_request(length: bytes) -> None:
    """RFC 9113, section 8.1.1."""
    with pytest.raises(MalformedError):
        read((b"content-length", length))


@given(st.text(max_size=200))
def test_every_reason_arrives_as_it_was(details: str) -> None:
    """Percent-encoded, whatever its characters; a lone surrogate has none."""
    block = grpc_head.failed(grpc.StatusCode.NOT_FOUND, details, b"r-1", (("x-a", "1"),))
    found = dict(Decoder(max_header_list_size=1 << 20).decode(block, raw=True))
    assert found[b"grpc-status"] == b"5"
    assert found[b"x-a"] == b"1"
    assert found[b"grpc-message"].isascii()
    told = details.encode(errors="replace").decode()
    assert unquote(found[b"grpc-message"].decode()) == told


def test_a_deadline_is_told_from_a_change_of_mind() -> None:
    """By what is left of it when the client goes."""
    assert grpc_head.is_late(0.1, 0.01)
    assert grpc_head.is_late(10.0, -1.0)
    assert not grpc_head.is_late(10.0, 5.0)
    assert not grpc_head.is_late(None, -1.0)
