"""One life of a tritonserver process: started, listened to, asked for its health, ended."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.runner.log import LineCutter, Output
from service.runner.process_group import ProcessGroup

HOST = "127.0.0.1"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CHUNK = 65536
_COMPLAINT = re.compile(rb"E\d{4} |error: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a server listens, on loopback."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def free(cls) -> Self:
        """Three that nobody listens on at this moment; somebody may, a moment later."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind((HOST, 0))
            http, grpc, metrics = (each.getsockname()[1] for each in sockets)
        return cls(http=http, grpc=grpc, metrics=metrics)


class Tritonserver:
    """A process that has been started, and its log on its way to ours.

    Args:
        process: leads a session of its own; its output is a pipe.
        ports: where it listens once it is ready.
        output: where its log goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], ports: Ports, output: Output) -> None:
        self.ports = ports
        self.group = ProcessGroup.led_by(process.pid)
        self.ended = asyncio.Event()
        self._process = process
        self._output = output
        self._cutter = LineCutter()
        self._complaints: deque[str] = deque(maxlen=3)
        self._pidfd: int | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def attend(self) -> None:
        """Begin to listen to its log and for its end."""
        assert self._process.stdout is not None  # noqa: S101 - `start` asked for the pipe
        loop = asyncio.get_running_loop()
        pipe = self._process.stdout.fileno()
        os.set_blocking(pipe, False)
        loop.add_reader(pipe, self._listen)
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._reap)

    def ask_to_stop(self) -> None:
        """Send SIGTERM. It loses what is in flight, so nothing may be."""
        self._process.terminate()

    async def bury(self) -> list[int]:
        """Kill what is left of it and its stubs, and close its log.

        Returns:
            The process ids that could not be killed.
        """
        left = await self.group.kill()
        if not left:
            self._process.wait()  # at once: it has ended
            self.ended.set()
        self._listen()
        for line in self._cutter.rest():
            self._say(line)
        self._close()
        return left

    async def is_live(self, patience: float) -> bool:
        """Whether it answers `/v2/health/live` within `patience` seconds.

        HTTP answers only after the models of the start have been loaded or refused, and gRPC
        listens by then. The gateway's calls use gRPC, so this one never waits behind them.
        """
        try:
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection(HOST, self.ports.http)
                try:
                    writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: triton\r\n")
                    writer.write(b"Connection: close\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    def obituary(self) -> str:
        """How it ended."""
        code = self._process.poll()
        if code is None:
            how = "was killed"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"exited with status {code}"
        return f"tritonserver {self.pid} {how}"

    def complaints(self) -> str:
        """What it logged as errors last; an empty string where it did not."""
        return "; ".join(self._complaints)

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - `start` asked for the pipe
        with suppress(BlockingIOError):
            chunk = os.read(self._process.stdout.fileno(), _CHUNK)
            if not chunk:
                asyncio.get_running_loop().remove_reader(self._process.stdout.fileno())
            for line in self._cutter.feed(chunk):
                self._say(line)

    def _say(self, line: bytes) -> None:
        if line and _COMPLAINT.match(line):
            self._complaints.append(line.decode(errors="replace"))
        if line:
            self._output.write("triton", line)

    def _reap(self) -> None:
        if self._process.poll() is not None:
            self._forget_pidfd()
            self.ended.set()

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _close(self) -> None:
        self._forget_pidfd()
        assert self._process.stdout is not None  # noqa: S101 - `start` asked for the pipe
        asyncio.get_running_loop().remove_reader(self._process.stdout.fileno())
        self._process.stdout.close()


def start(
    command: Sequence[str],
    *,
    ports: Ports,
    environment: Mapping[str, str],
    directory: Path,
    output: Output,
) -> Tritonserver:
    """Start the process. It is killed by the kernel when the calling thread ends: call from main.

    Raises:
        OSError: the program cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - the command is `Runtime.command`
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
        preexec_fn=_die_with_parent(),  # noqa: PLW1509 - the guardian has one thread
    )
    return Tritonserver(process, ports, output)


def _die_with_parent() -> Callable[[], None]:
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return before_exec
