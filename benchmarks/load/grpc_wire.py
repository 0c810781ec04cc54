"""One caller over gRPC; callers share a few channels, as those of one client process do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from benchmarks.load.wire import Answer, failed, judged
from benchmarks.sla import Target
from benchmarks.wires import oip_grpc
from benchmarks.workloads import Prepared

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else all channels are one connection
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
CHANNELS = 8
"""Connections of one process for one target, at most."""


class Channels:
    """The channels of one target in this process.

    Args:
        address: `host:port`.
        count: how many.
    """

    def __init__(self, address: str, count: int) -> None:
        self._all = [grpc.insecure_channel(address, _OPTIONS) for _ in range(count)]
        self._turn = itertools.cycle(self._all)

    def next(self) -> Any:
        """A channel, in turn."""
        return next(self._turn)

    def close(self) -> None:
        """Close all."""
        for channel in self._all:
            channel.close()


class GrpcWire:
    """Asks one request at a time.

    Args:
        channel: to call through.
        target: what is asked.
        timeout: seconds.
        ids: of requests; shared by all callers of the process.
    """

    def __init__(self, channel: Any, target: Target, timeout: float, ids: Iterator[str]) -> None:
        self._channel = channel
        self._call = channel.unary_unary(_METHOD)  # bytes both ways
        self._metadata = tuple((name.lower(), value) for name, value in target.headers.items())
        self._timeout = timeout
        self._ids = ids

    def connect(self) -> float:
        """Wait for the channel.

        Raises:
            OSError: it is not ready within the timeout.
        """
        begun = perf_counter()
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=self._timeout)
        except grpc.FutureTimeoutError:
            ready.cancel()  # else it watches the channel for ever
            raise OSError(f"no connection within {self._timeout:g} s") from None
        return perf_counter() - begun

    def ask(self, prepared: Prepared, tolerance: float) -> Answer:
        """Send a request, wait for its answer, and judge it."""
        identity = next(self._ids)
        data = prepared.bytes_for(identity)
        begun = perf_counter()
        try:
            reply = self._call(data, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code().name
            kind = "timeout" if code == "DEADLINE_EXCEEDED" else code
            return failed(begun, kind, error.details() or "")
        ended = perf_counter()
        return judged(
            begun,
            ended - begun,
            case=prepared.case,
            identity=identity,
            tolerance=tolerance,
            decode=lambda: oip_grpc.decode(service_pb2.ModelInferResponse.FromString(reply)),
        )

    def close(self) -> None:
        """The channel is others' too."""
