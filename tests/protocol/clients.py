"""One thin client per wire, so that one test asks the same of each.

Only what a test needs to say or see is here; the libraries underneath are the unmodified ones.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from google.protobuf import json_format
from google.protobuf.message import Message
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

Json = dict[str, Any]
Array = np.ndarray[Any, Any]

CALLERS = 128
"""How many requests a client can have under way at once."""

_HTTP_KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RefusedError(Exception):
    """The gateway said no: the contract's word for it (gRPC's status name), and its reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One inference to ask for.

    Args:
        model: the name.
        inputs: by name; the datatype follows from the array.
        outputs: the names wanted; None: the request names none.
        as_json: the inputs and outputs that travel as JSON, where the wire has such a form.
        deadline_ms: by the wire's own means (a header, gRPC's deadline).
        timeout_us: by Triton's request parameter.
        compression: of request and response.
    """

    model: str
    inputs: Mapping[str, Array]
    version: str = ""
    outputs: Sequence[str] | None = None
    as_json: frozenset[str] = frozenset()
    id: str = ""
    priority: int = 0
    timeout_us: int | None = None
    deadline_ms: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the message, and the tensors in it."""

    message: Json
    tensors: Mapping[str, Array]


class Client(ABC):
    """What a test may ask for, whatever the wire. A refusal raises RefusedError."""

    wire: ClassVar[str]

    @abstractmethod
    def live(self) -> bool:
        """Whether the server lives."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the server is ready."""

    @abstractmethod
    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether the model, or its version, is ready."""

    @abstractmethod
    def server_metadata(self) -> Json:
        """The server's name, version and extensions."""

    @abstractmethod
    def model_metadata(self, model: str, version: str = "") -> Json:
        """The model's inputs, outputs and versions."""

    @abstractmethod
    def model_config(self, model: str, version: str = "") -> Json:
        """Triton's ModelConfig."""

    @abstractmethod
    def statistics(self, model: str = "", version: str = "") -> list[Json]:
        """Triton's ModelStatistics, of all models where none is named."""

    @abstractmethod
    def index(self) -> list[Json]:
        """The repository index."""

    @abstractmethod
    def load(self, model: str, **more: Any) -> None:
        """Load a model."""

    @abstractmethod
    def unload(self, model: str) -> None:
        """Unload a model."""

    @abstractmethod
    def infer(self, ask: Ask) -> Answer:
        """One answer."""

    @abstractmethod
    def infer_at_once(self, asks: Sequence[Ask]) -> list[Answer | RefusedError]:
        """All of them under way together; the answers in the order of `asks`."""

    @abstractmethod
    def close(self) -> None:
        """Let the connections go."""


class _Http(Client):
    """What the two HTTP clients of tritonclient share: names, arguments, and answers."""

    _client: Any
    _unread = False  # whether an answer came whose body tritonclient has no use for

    @abstractmethod
    def _run(self, call: Callable[[], Any]) -> Any: ...

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return self._run(call)
        except InferenceServerException as error:
            raise _refused(error) from None

    def _status(self, call: Callable[[], Any]) -> bool:
        self._unread = True
        return bool(self._call(call))

    def live(self) -> bool:
        return self._status(self._client.is_server_live)

    def ready(self) -> bool:
        return self._status(self._client.is_server_ready)

    def model_ready(self, model: str, version: str = "") -> bool:
        return self._status(lambda: self._client.is_model_ready(model, version))

    def server_metadata(self) -> Json:
        return dict(self._call(self._client.get_server_metadata))

    def model_metadata(self, model: str, version: str = "") -> Json:
        return dict(self._call(lambda: self._client.get_model_metadata(model, version)))

    def model_config(self, model: str, version: str = "") -> Json:
        return dict(self._call(lambda: self._client.get_model_config(model, version)))

    def statistics(self, model: str = "", version: str = "") -> list[Json]:
        found = self._call(lambda: self._client.get_inference_statistics(model, version))
        return list(found["model_stats"])

    def index(self) -> list[Json]:
        return list(self._call(self._client.get_model_repository_index))

    def load(self, model: str, **more: Any) -> None:
        self._status(lambda: self._client.load_model(model, **more))

    def unload(self, model: str) -> None:
        self._status(lambda: self._client.unload_model(model))

    def infer(self, ask: Ask) -> Answer:
        return _answer(self._call(lambda: self._client.infer(**_arguments(ask))))


class Http(_Http):
    """`tritonclient.http`: threads of gevent, and its `async_infer`."""

    wire = "http"

    def __init__(self, address: str) -> None:
        self._client = tritonclient.http.InferenceServerClient(address, concurrency=CALLERS)

    def _run(self, call: Callable[[], Any]) -> Any:
        return call()

    def infer_at_once(self, asks: Sequence[Ask]) -> list[Answer | RefusedError]:
        """By `async_infer`, a greenlet each."""
        under_way = [self._client.async_infer(**_arguments(ask)) for ask in asks]
        answers: list[Answer | RefusedError] = []
        for each in under_way:
            try:
                answers.append(_answer(each.get_result()))
            except InferenceServerException as error:
                answers.append(_refused(error))
        return answers

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()


class AioHttp(_Http):
    """`tritonclient.http.aio`, on an event loop of its own."""

    wire = "http"

    def __init__(self, address: str) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._connect(address))

    @staticmethod
    async def _connect(address: str) -> Any:
        return tritonclient.http.aio.InferenceServerClient(address, conn_limit=CALLERS)

    def _run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async def awaited() -> Any:
            return await call()

        return self._runner.run(awaited())

    def infer_at_once(self, asks: Sequence[Ask]) -> list[Answer | RefusedError]:
        """By tasks of one event loop."""

        async def one(ask: Ask) -> Answer | RefusedError:
            try:
                return _answer(await self._client.infer(**_arguments(ask)))
            except InferenceServerException as error:
                return _refused(error)

        async def together() -> list[Answer | RefusedError]:
            return await asyncio.gather(*(one(ask) for ask in asks))

        return self._runner.run(together())

    def close(self) -> None:
        """Let the connections go."""
        self._runner.run(self._client.close())
        self._runner.close()
        if self._unread:
            gc.collect()  # they warn when they go: now, where that is expected


def _arguments(ask: Ask) -> Json:
    inputs = []
    for name, array in ask.inputs.items():
        item = tritonclient.http.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        item.set_data_from_numpy(array, binary_data=name not in ask.as_json)
        inputs.append(item)
    arguments: Json = {
        "model_name": ask.model,
        "inputs": inputs,
        "model_version": ask.version,
        "request_id": ask.id,
        "priority": ask.priority,
        "timeout": ask.timeout_us,
        "request_compression_algorithm": ask.compression,
        "response_compression_algorithm": ask.compression,
        "parameters": dict(ask.parameters) or None,
    }
    if ask.outputs is not None:
        arguments["outputs"] = [
            tritonclient.http.InferRequestedOutput(name, binary_data=name not in ask.as_json)
            for name in ask.outputs
        ]
    if ask.deadline_ms is not None:
        arguments["headers"] = {"X-Request-Timeout-Ms": str(ask.deadline_ms)}
    return arguments


def _answer(result: Any) -> Answer:
    message = result.get_response()
    names = [output["name"] for output in message["outputs"]]
    return Answer(message, {name: result.as_numpy(name) for name in names})


def _refused(error: InferenceServerException) -> RefusedError:
    return RefusedError(_HTTP_KINDS.get(int(error.status() or 0), "?"), str(error.message()))


class _Grpc(Client):
    """What the two gRPC clients of tritonclient share."""

    _client: Any

    @abstractmethod
    def _run(self, call: Callable[[], Any]) -> Any: ...

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return self._run(call)
        except InferenceServerException as error:
            raise _refused_rpc(error) from None

    def live(self) -> bool:
        return bool(self._call(self._client.is_server_live))

    def ready(self) -> bool:
        return bool(self._call(self._client.is_server_ready))

    def model_ready(self, model: str, version: str = "") -> bool:
        return bool(self._call(lambda: self._client.is_model_ready(model, version)))

    def server_metadata(self) -> Json:
        return _json(self._call(self._client.get_server_metadata))

    def model_metadata(self, model: str, version: str = "") -> Json:
        found = _json(self._call(lambda: self._client.get_model_metadata(model, version)))
        for tensor in (*found["inputs"], *found["outputs"]):
            tensor["shape"] = _sizes(tensor["shape"])
        return found

    def model_config(self, model: str, version: str = "") -> Json:
        found = self._call(lambda: self._client.get_model_config(model, version))
        return dict(_json(found)["config"])

    def statistics(self, model: str = "", version: str = "") -> list[Json]:
        found = self._call(lambda: self._client.get_inference_statistics(model, version))
        return list(_json(found)["model_stats"])

    def index(self) -> list[Json]:
        found = self._call(self._client.get_model_repository_index)
        return list(_json(found)["models"])

    def load(self, model: str, **more: Any) -> None:
        self._call(lambda: self._client.load_model(model, **more))

    def unload(self, model: str) -> None:
        self._call(lambda: self._client.unload_model(model))

    def infer(self, ask: Ask) -> Answer:
        return _rpc_answer(self._call(lambda: self._client.infer(**_rpc_arguments(ask))))


class Grpc(_Grpc):
    """`tritonclient.grpc`: blocking, and its `async_infer`."""

    wire = "grpc"

    def __init__(self, address: str) -> None:
        self._client = tritonclient.grpc.InferenceServerClient(address)

    def _run(self, call: Callable[[], Any]) -> Any:
        return call()

    def infer_at_once(self, asks: Sequence[Ask]) -> list[Answer | RefusedError]:
        """By `async_infer`, a callback each."""
        answers: list[Answer | RefusedError | None] = [None] * len(asks)
        left = threading.Semaphore(0)

        def take(index: int, result: Any, error: InferenceServerException | None) -> None:
            answers[index] = _rpc_answer(result) if error is None else _refused_rpc(error)
            left.release()

        for index, ask in enumerate(asks):
            arguments = _rpc_arguments(ask)
            self._client.async_infer(callback=functools.partial(take, index), **arguments)
        for _ in asks:
            left.acquire()
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()


class AioGrpc(_Grpc):
    """`tritonclient.grpc.aio`, on an event loop of its own."""

    wire = "grpc"

    def __init__(self, address: str) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._connect(address))

    @staticmethod
    async def _connect(address: str) -> Any:
        return tritonclient.grpc.aio.InferenceServerClient(address)

    def _run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async def awaited() -> Any:
            return await call()

        return self._runner.run(awaited())

    def infer_at_once(self, asks: Sequence[Ask]) -> list[Answer | RefusedError]:
        """By tasks of one event loop."""

        async def one(ask: Ask) -> Answer | RefusedError:
            try:
                return _rpc_answer(await self._client.infer(**_rpc_arguments(ask)))
            except InferenceServerException as error:
                return _refused_rpc(error)

        async def together() -> list[Answer | RefusedError]:
            return await asyncio.gather(*(one(ask) for ask in asks))

        return self._runner.run(together())

    def close(self) -> None:
        """Let the connection go."""
        self._runner.run(self._client.close())
        self._runner.close()


def _seconds(ask: Ask) -> float | None:
    return None if ask.deadline_ms is None else ask.deadline_ms / 1000


def _rpc_arguments(ask: Ask) -> Json:
    inputs = []
    for name, array in ask.inputs.items():
        item = tritonclient.grpc.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        item.set_data_from_numpy(array)
        inputs.append(item)
    arguments: Json = {
        "model_name": ask.model,
        "inputs": inputs,
        "model_version": ask.version,
        "request_id": ask.id,
        "priority": ask.priority,
        "timeout": ask.timeout_us,
        "client_timeout": _seconds(ask),
        "compression_algorithm": ask.compression,
        "parameters": dict(ask.parameters) or None,
    }
    if ask.outputs is not None:
        arguments["outputs"] = [tritonclient.grpc.InferRequestedOutput(n) for n in ask.outputs]
    return arguments


def _rpc_answer(result: Any) -> Answer:
    message = _json(result.get_response())
    for output in message["outputs"]:
        output["shape"] = _sizes(output["shape"])
    names = [output["name"] for output in message["outputs"]]
    return Answer(message, {name: result.as_numpy(name) for name in names})


def _json(message: Message) -> Json:
    """With what is empty or 0 too, as HTTP has it."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _sizes(given: Sequence[str]) -> list[int]:
    """Protobuf's JSON has 64-bit numbers as text."""
    return [int(size) for size in given]


def _refused_rpc(error: InferenceServerException) -> RefusedError:
    kind = str(error.status() or "?").removeprefix("StatusCode.")
    return RefusedError(kind, str(error.message()))


CLIENTS: list[type[Client]] = [Http, AioHttp, Grpc, AioGrpc]
