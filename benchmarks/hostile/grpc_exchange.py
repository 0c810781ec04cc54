"""Sends one bad call, and judges what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import service_pb2 as pb

from benchmarks.hostile import http2_call
from benchmarks.hostile.grpc_case import INFER, STREAM, Call, Case, Framed
from benchmarks.hostile.grpc_messages import ROW, rows

GIVE_UP = 15.0
_HANGS = 0.2
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_GOOD: bytes = rows().SerializeToString()
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each channel
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 200),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    status: str  # the code's name, or how the call ended without one
    reason: str
    seconds: float
    fault: str  # what is wrong with it; empty: nothing


def channel(address: tuple[str, int]) -> Any:
    """A channel with a connection of its own."""
    return grpc.insecure_channel(f"{address[0]}:{address[1]}", options=_OPTIONS)


class Exchange:
    """One channel for what is bad, and one for what is good.

    Args:
        address: host and port of the gateway's gRPC.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._bad = channel(address)
        self._good = channel(address)

    def close(self) -> None:
        """Close the channels."""
        self._bad.close()
        self._good.close()

    def fire(self, case: Case) -> Outcome:
        """Send a case and judge the answer."""
        begun = time.monotonic()
        if isinstance(case, Framed):
            status, reason, fault = self._framed(case)
        else:
            status, reason, fault = self._call(case)
        return Outcome(status, reason, time.monotonic() - begun, fault)

    def ask(self) -> bool:
        """Whether a good request is answered rightly."""
        try:
            data = self._good.unary_unary(INFER)(_GOOD, timeout=GIVE_UP)
        except grpc.RpcError:
            return False
        return right(data, [ROW])

    def answer(self, message: Any, contents: Sequence[bytes]) -> str:
        """What is wrong with the answer to a good message; empty: nothing."""
        try:
            data = self._good.unary_unary(INFER)(message.SerializeToString(), timeout=GIVE_UP)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return "" if right(data, contents) else f"not what was asked for: {data[:200]!r}"

    def on_stream(self, case: Call) -> str:
        """Send a case between two good messages of one stream; what is wrong, or nothing."""
        messages = (_GOOD, case.message(), _GOOD)
        stream = self._bad.stream_stream(STREAM)(iter(messages), timeout=GIVE_UP)
        try:
            answers = [pb.ModelStreamInferResponse.FromString(data) for data in stream]
        except grpc.RpcError as error:
            if case.identity == "*" and error.code() in case.expected and error.details():
                return ""  # of bytes that are no message, the stream itself may say so
            return f"the stream ended with {error.code().name}: {error.details():.200}"
        return _of_three(answers, case)

    def reflect(self, question: bytes) -> str:
        """Ask the reflection; what is wrong with its answer, or nothing."""
        call = self._bad.stream_stream(_REFLECTION)(iter([question]), timeout=GIVE_UP)
        answer = reflection_pb2.ServerReflectionResponse
        try:
            found = [answer.FromString(data) for data in call]
        except grpc.RpcError as error:
            fine = error.code() is grpc.StatusCode.INVALID_ARGUMENT and error.details()
            return "" if fine else f"{error.code().name}: {error.details()}"
        told = [a.error_response for a in found if a.HasField("error_response")]
        if len(told) != 1 or not told[0].error_code:
            return f"no error: {found!r:.200}"
        return _complaint(told[0].error_message, "")

    def _call(self, case: Call) -> tuple[str, str, str]:
        compression = grpc.Compression.Gzip if case.compressed else None
        try:
            self._bad.unary_unary(case.method)(
                case.message(),
                timeout=case.timeout,
                metadata=case.metadata,
                compression=compression,
            )
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code not in case.expected:
                return code.name, details, _unexpected(code.name, case, details)
            return code.name, details, _complaint(details, case.mentions)
        return "OK", "", _unexpected("OK", case, "")

    def _framed(self, case: Framed) -> tuple[str, str, str]:
        wait = _HANGS if case.may_hang else GIVE_UP
        found = http2_call.call(
            self._address, case.headers, case.body(), ends=case.ends, seconds=wait
        )
        if found.grpc is not None:
            code = _CODES[found.grpc]
            if code not in case.expected:
                return code.name, found.details, _unexpected(code.name, case, found.details)
            silent = case.wordless or code is grpc.StatusCode.OK
            fault = "" if silent else _complaint(found.details, "")
            return code.name, found.details, fault
        if not found.ended:
            return "none", "", "" if case.may_hang else f"no answer within {GIVE_UP:g} s"
        told = f"HTTP {found.http}" if found.http else found.ended
        return told, "", "" if case.may_close else f"{told}, without a status"


def right(data: bytes, contents: Sequence[bytes]) -> bool:
    """Whether an answer holds these raw contents."""
    return list(pb.ModelInferResponse.FromString(data).raw_output_contents) == list(contents)


def _of_three(answers: Sequence[Any], case: Call) -> str:
    """What is wrong with the answers to a good message, the case, and a good message."""
    bad = [a for a in answers if a.error_message]
    good = [a for a in answers if not a.error_message]
    if len(bad) != 1 or len(good) != 2:
        return f"{len(bad)} errors and {len(good)} answers to a bad message between two good"
    if any(list(a.infer_response.raw_output_contents) != [ROW] for a in good):
        return "a good message of the stream was answered wrongly"
    identity = bad[0].infer_response.id
    if case.identity not in ("*", identity):
        return f"the error carries the id {identity:.50}, not {case.identity:.50}"
    return _complaint(bad[0].error_message, case.mentions)


def _unexpected(status: str, case: Case, details: str) -> str:
    wanted = "/".join(sorted(code.name for code in case.expected))
    return f"{status}, {wanted} expected: {details:.200}"


def _complaint(details: str, mentions: str) -> str:
    if not details or len(details) > 4096:
        return f"a reason that is none, of {len(details)} characters: {details:.200}"
    if mentions not in details:
        return f"the reason does not name {mentions!r}: {details:.200}"
    return ""


def questions(cases: Sequence[Case]) -> Iterator[Call]:
    """Those of the cases that a stream can carry."""
    return (case for case in cases if isinstance(case, Call) and case.streams)
