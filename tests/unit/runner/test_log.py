from __future__ import annotations

import os

from service.runner.log import LINE_BYTES, LineCutter, Output


def test_lines_are_whole_however_they_come() -> None:
    """Chunks that end anywhere give the same lines, without their ends."""
    cutter = LineCutter()
    lines = [line for byte in b"one\r\ntwo\n\nthr" for line in cutter.feed(bytes([byte]))]
    assert lines == [b"one", b"two", b""]
    assert cutter.rest() == [b"thr"]
    assert cutter.rest() == []


def test_a_long_line_is_bounded() -> None:
    """A line keeps its first bytes and says how many it lost; the next one is whole again."""
    cutter = LineCutter(limit=4)
    assert cutter.feed(b"abcdef") == []
    assert cutter.feed(b"gh\nxy\n") == [b"abcd [4 bytes more]", b"xy"]


def test_an_output_that_nobody_reads_blocks_nobody() -> None:
    """A full pipe drops lines, and tells how many once somebody reads again."""
    reader, writer = os.pipe()
    output = Output(writer)
    for _ in range(200):
        output.write("triton", b"x" * LINE_BYTES)
    held = len(os.read(reader, 1 << 20)) // (LINE_BYTES + len("[triton] \n"))
    output.write("guardian", "back")
    assert 0 < held < 200
    assert os.read(reader, 1 << 20).decode().splitlines() == [
        f"[guardian] {200 - held} lines of log dropped",
        "[guardian] back",
    ]
    os.close(reader)
    os.close(writer)


def test_an_output_whose_reader_is_gone_is_survived() -> None:
    """A broken pipe ends the log, not the guardian."""
    reader, writer = os.pipe()
    os.close(reader)
    Output(writer).write("triton", b"unheard")
    os.close(writer)
