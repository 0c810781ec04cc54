"""One line of JSON for each request: who asked what, and how it ended. Off by default.

A line holds no header but the request's id, no payload and no query. What a client chose is cut to
a length and written in ASCII with JSON's escapes, so it can neither end a line nor begin one.
"""

from __future__ import annotations

import json
import os
import random
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.errors import ConfigurationError
from service.protocol.span import Span
from service.settings import TelemetrySettings

OFF = "off"

_encode = json.JSONEncoder(separators=(",", ":")).encode
_STREAMS = {"stdout": 1, "stderr": 2}
_MAX_WAITING = 8192  # lines
_PAUSE = 0.1  # seconds in which lines gather
_STOP_SECONDS = 2.0
# Two writes to one pipe never mix up to this many bytes (PIPE_BUF). With the longest that a client
# may choose, each character escaped, a line is shorter still.
_WRITE_BYTES = 4096
_MODEL, _VERSION, _VERB, _PEER, _REQUEST = 100, 20, 120, 64, 128  # characters


@dataclass(slots=True, kw_only=True)
class Access:
    """What is known of a request when it has ended."""

    protocol: str  # http or grpc
    verb: str  # "POST /v2/models/digits/infer", "ModelInfer"
    code: str  # 200, OK
    seconds: float  # from the request's head to the end of its answer
    request_id: str  # ASCII
    peer: str  # ASCII
    model: str = ""  # as asked
    version: str = ""  # that answered
    request_bytes: int = 0
    response_bytes: int = 0
    span: Span | None = None


class AccessLog:
    """Takes lines from the event loop; a thread writes them, since a pipe's reader may be slow.

    Args:
        settings: where to, and which of them.
        lost: hears how many lines could not be written.
    """

    def __init__(self, settings: TelemetrySettings, lost: Callable[[int], object]) -> None:
        self._target = settings.access_log
        self._share = settings.access_log_share
        self._lost = lost
        self._lines: deque[bytes] = deque()
        self._waiting = threading.Event()  # set while there are lines
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write.

        Raises:
            ConfigurationError: the file cannot be opened.
        """
        try:
            self._close(self._open())
        except OSError as error:
            raise ConfigurationError(f"telemetry.access_log: {error}") from None
        self._thread = threading.Thread(target=self._run, name="lupine-access-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, unless that takes longer than two seconds."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._waiting.set()
            thread.join(_STOP_SECONDS)

    def write(self, access: Access, *, failed: bool) -> None:
        """Log a request, or not, as the settings have it; every one that `failed` is logged."""
        if not failed and self._share < 1 and random.random() >= self._share:  # noqa: S311 - a sample
            return
        if len(self._lines) >= _MAX_WAITING:
            self._lost(1)
            return
        self._lines.append(line(access, time.time()))
        if not self._waiting.is_set():
            self._waiting.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._waiting.wait()
            self._stopping.wait(_PAUSE)
            self._waiting.clear()
            self._flush()
        self._flush()  # what came during the last one

    def _flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        written = 0
        try:
            descriptor = self._open()
            try:
                for part in _parts(lines):
                    data = memoryview(b"".join(part))
                    while data:
                        data = data[os.write(descriptor, data) :]
                    written += len(part)
            finally:
                self._close(descriptor)
        except OSError:
            self._lost(len(lines) - written)

    def _open(self) -> int:
        """A file is opened for each flush, so that it may be moved away (logrotate)."""
        if self._target in _STREAMS:
            return _STREAMS[self._target]
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK
        descriptor = os.open(self._target, flags, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{self._target} is no regular file")
        return descriptor

    def _close(self, descriptor: int) -> None:
        if self._target not in _STREAMS:
            os.close(descriptor)


def line(access: Access, now: float) -> bytes:
    """The line of a request.

    Args:
        access: the request.
        now: seconds since the epoch.
    """
    fields: dict[str, str | float] = {
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "request": access.request_id[:_REQUEST],
        "protocol": access.protocol,
        "verb": access.verb[:_VERB],
        "code": access.code,
        "seconds": round(access.seconds, 6),
        "request_bytes": access.request_bytes,
        "response_bytes": access.response_bytes,
        "peer": access.peer[:_PEER],
    }
    if access.model:
        fields["model"] = access.model[:_MODEL]
    if access.version:
        fields["version"] = access.version[:_VERSION]
    span = access.span
    if span is not None and span.trace_id:
        fields["trace"] = span.trace_id
        fields["span"] = span.id
    if span is not None and span.queued is not None:
        fields["queue_seconds"] = round(span.queued, 6)
        fields["rows"] = span.rows
        fields["batch_rows"] = span.batch_rows
    text = _encode(fields)
    # JSON lets it stand, and it is a control character.
    return text.replace("\x7f", "\\u007f").encode() + b"\n"


def _parts(lines: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
    """Whole lines, as many as one write may have."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for one in lines:
        if size + len(one) > _WRITE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += len(one)
    return parts
