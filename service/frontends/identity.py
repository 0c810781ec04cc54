"""The identity of a request: echoed when the client gave one, made when it did not."""

from __future__ import annotations

import itertools
import re
import secrets

KEY = "x-lupine-key"
"""The header and the metadata in which a caller names what is to meet the same canary each time."""

_PLAIN = re.compile(rb"[\x21-\x7e]{1,128}")

# Unique without asking the kernel for each: random per process, then counted.
_PROCESS = secrets.token_hex(8).encode()
_numbers = itertools.count(1)


def request_id(given: bytes) -> bytes:
    """`given`, where it is plain enough for a header and a log; else one that is new."""
    return given if _PLAIN.fullmatch(given) else b"%b-%x" % (_PROCESS, next(_numbers))
