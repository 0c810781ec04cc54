"""tritonserver's output, line by line into ours.

Never blocking: where nobody reads our output, lines are dropped and counted, since a guardian that
waits for its log guards nothing.
"""

from __future__ import annotations

import os
import select

LINE_BYTES = 2000  # with its source a line stays below PIPE_BUF: written whole, and not between


class LineCutter:
    """Cuts a stream into lines, of which it keeps the first `limit` bytes each.

    Args:
        limit: bytes of a line; what is beyond is counted and dropped.
    """

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._line = bytearray()
        self._beyond = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends."""
        *whole, last = chunk.split(b"\n")
        lines = []
        for part in whole:
            self._take(part)
            lines.append(self._cut())
        self._take(last)
        return lines

    def rest(self) -> list[bytes]:
        """The line that the stream broke off in, if any."""
        return [self._cut()] if self._line else []

    def _take(self, part: bytes) -> None:
        room = self._limit - len(self._line)
        self._line += part[:room]
        self._beyond += max(0, len(part) - room)

    def _cut(self) -> bytes:
        line = bytes(self._line).rstrip(b"\r")
        if self._beyond:
            line += b" [%d bytes more]" % self._beyond
        self._line.clear()
        self._beyond = 0
        return line


class Output:
    """Where lines go, each behind the name of its source.

    Args:
        descriptor: an open file, shared with other processes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dropped = 0

    def write(self, source: str, line: bytes | str) -> None:
        """Write one line, or drop it where it would have to wait."""
        raw = line.encode() if isinstance(line, str) else line
        if self._dropped and self._put(b"[guardian] %d lines of log dropped" % self._dropped):
            self._dropped = 0
        if self._dropped or not self._put(b"[%s] %s" % (source.encode(), raw)):
            self._dropped += 1

    def _put(self, line: bytes) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if not any(events & select.POLLOUT for _, events in poll.poll(0)):
            return False
        try:
            os.write(self._descriptor, line + b"\n")
        except OSError:  # nobody reads any more
            return False
        return True
