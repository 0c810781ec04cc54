"""Header fields: HPACK in both directions, and which fields a request may have.

Source: RFC 7541 (HPACK); RFC 9113, sections 8.2 and 8.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar, cast

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from service.frontends.http2.faults import ConnectionFault, MalformedError, calm
from service.frontends.http2.frames import ErrorCode

Fields = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")

FIELD_OVERHEAD = 32
"""RFC 9113, section 6.5.2: what a field counts beside its own bytes."""
FORGET = b"\x20"
"""RFC 7541, section 6.3: the dynamic table has no room from now on."""

_REMEMBERED_BLOCKS = 64
_REMEMBERED_BYTES = 1024  # of one block
_TOLERANCE = 2  # times the limit, which a list may have and be refused without harm to others
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
# Blanks around a value are left to whoever reads it: callers put them into credentials by mistake,
# and shall hear that it does not hold.
_VALUE = re.compile(rb"[^\0\r\n]*")
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_CONNECTION = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_SHORT = 127  # a length below it takes one byte (RFC 7541, section 5.1, with a prefix of 7 bits)


class _Table(HeaderTable):
    """The dynamic table, which tells when it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = False

    def add(self, name: bytes, value: bytes) -> None:
        """An entry, in front of the others."""
        self.changed = True
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        """Bytes that it may have."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changed = True
        HeaderTable.maxsize.__set__(self, size)  # type: ignore[attr-defined]  # a property


class HeaderDecoder(Generic[T]):
    """The fields of one connection's requests, each block read as `read` has it.

    As long as the dynamic table stays as it is, a block means the same again; clients repeat
    theirs, so that next to none is decoded.

    Args:
        read: makes of the fields of a request what the application wants to know. It may raise
            `MalformedError`.
        max_bytes: of a list of fields, each counted with 32 more.
    """

    def __init__(self, read: Callable[[Fields, int], T], max_bytes: int) -> None:
        self._read = read
        self._decoder = Decoder(max_header_list_size=_TOLERANCE * max_bytes)
        self._table = self._decoder.header_table = _Table()
        self._remembered: dict[bytes, T] = {}

    def head(self, block: bytes) -> T:
        """What the block at the head of a request means.

        Raises:
            ConnectionFault: it is no HPACK, or far more than is taken: nothing behind it could be
                understood.
            MalformedError: no request has such fields.
        """
        found = self._remembered.get(block)
        if found is not None:
            return found
        fields = self.fields(block)
        check_request(fields)
        found = self._read(fields, list_bytes(fields))
        if not self._table.changed and len(block) <= _REMEMBERED_BYTES:
            if len(self._remembered) >= _REMEMBERED_BLOCKS:
                self._remembered.clear()
            self._remembered[block] = found
        return found

    def fields(self, block: bytes) -> Fields:
        """The fields of a block, decoded.

        Raises:
            ConnectionFault: as above.
        """
        self._table.changed = False
        try:
            return cast(Fields, self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise calm(
                "a list of header fields is far over SETTINGS_MAX_HEADER_LIST_SIZE"
            ) from None
        except (HPACKError, UnicodeDecodeError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"{error}"[:200]) from None
        finally:
            if self._table.changed:
                self._remembered.clear()


def list_bytes(fields: Fields) -> int:
    """The size of a list of fields, as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)


def check_request(fields: Fields) -> None:
    """Look at the fields of a request.

    Raises:
        MalformedError: RFC 9113 does not allow them.
    """
    seen = set()
    pseudo = True  # as long as no other has come
    for name, value in fields:
        if name.startswith(b":"):
            if not pseudo or name in seen or name not in _PSEUDO:
                raise MalformedError(f"the pseudo-header field {name!r:.60} is misplaced")
            seen.add(name)
            if _VALUE.fullmatch(value) is None:
                raise MalformedError(f"the value of {name!r:.60} has a character that none has")
        else:
            pseudo = False
            check_field(name, value)
    if not seen >= _REQUIRED and (b":method", b"CONNECT") not in fields:
        raise MalformedError("a request has :method, :scheme and :path")


def check_trailers(fields: Fields) -> None:
    """Look at the fields behind a request's content.

    Raises:
        MalformedError: RFC 9113 does not allow them.
    """
    for name, value in fields:
        check_field(name, value)


def check_field(name: bytes, value: bytes) -> None:
    """Look at a field that is no pseudo-header.

    Raises:
        MalformedError: its name or value cannot be (section 8.2.1), or it is about a connection of
            HTTP/1.1 (section 8.2.2).
    """
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise MalformedError(f"the field {name!r:.60} has a character that none has")
    if name in _CONNECTION or (name == b"te" and value != b"trailers"):
        raise MalformedError(f"the field {name!r:.60} belongs to HTTP/1.1")


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing (RFC 7541, section 6.2.2), and without Huffman's code.

    It changes no dynamic table, so what has been encoded once can be sent on any connection.
    """
    if len(name) < _SHORT and len(value) < _SHORT:
        return b"\0%c%b%c%b" % (len(name), name, len(value), value)
    return b"\0%b%b%b%b" % (_length(len(name)), name, _length(len(value)), value)


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields as a block of literals."""
    return b"".join(literal(name, value) for name, value in fields)


def _length(size: int) -> bytes:
    """RFC 7541, section 5.1, with a prefix of 7 bits."""
    if size < _SHORT:
        return bytes((size,))
    octets = [_SHORT]
    size -= _SHORT
    while size > _SHORT:
        octets.append(0x80 | size & 0x7F)
        size >>= 7
    return bytes((*octets, size))
