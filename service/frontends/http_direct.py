"""Inference over HTTP without ASGI: from the parser to the data plane and back, without a task.

An ASGI server makes a scope, a task and several messages for each request, which cost more than all
the rest (`docs/adr/0012`). What is plain takes this way: a POST with a known length to a model's
`infer`, unencoded, and of which nobody keeps a record. Everything else, and whatever follows on the
same connection before this is answered, goes to `HttpFrontend`.
"""

from __future__ import annotations

import asyncio
import functools
import re
from http import HTTPStatus
from time import perf_counter

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.errors import InvalidRequestError, LupineError, ShedError
from service.frontends import identity, status
from service.frontends.direct import DirectInference, DirectParts
from service.frontends.direct_cycle import DirectCycle
from service.frontends.http_body import compress, worth_compressing
from service.frontends.http_call import CLIENT_GONE, encode
from service.frontends.http_protocol import GuardedProtocol
from service.inference import Inference
from service.protocol import deadline
from service.protocol.messages import InferRequest, InferResponse
from service.wires import oip_json

_MAX_URL = 512  # of a remembered one
_URL = re.compile(rb"/v2/models/([\w.-]+)(?:/versions/([0-9]+))?/infer", re.ASCII)
_LENGTH, _JSON_LENGTH = b"content-length", b"inference-header-content-length"
_TIMEOUT, _ID, _ACCEPT = b"x-request-timeout-ms", b"x-request-id", b"accept-encoding"
_KEY = identity.KEY.encode()
_READ = frozenset({_LENGTH, _JSON_LENGTH, _TIMEOUT, _ID, _KEY, _ACCEPT})
_NOT_PLAIN = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"traceparent"})
_JSON = b"content-type: application/json\r\n"
_BINARY = b"content-type: application/octet-stream\r\n" + _JSON_LENGTH + b": %d\r\n"
_JOINED = 1 << 16  # bytes; a copy of more costs more than a second buffer


class DirectFrontend(DirectParts):
    """Takes plain inference requests off the server's hands."""

    def take(self, connection: GuardedProtocol) -> DirectExchange | None:
        """An exchange for the request whose head is whole; None where it is not a plain one."""
        if self.telemetry.access_log is not None or connection.parser.get_method() != b"POST":
            return None
        target = _target(connection.url) if len(connection.url) <= _MAX_URL else None
        if target is None:
            return None
        found: dict[bytes, bytes] = {}
        for name, value in connection.headers:
            if name in _READ:
                found[name] = value  # of a header given twice the last counts
            elif name in _NOT_PLAIN:
                return None
        length = found.get(_LENGTH)
        if length is None or int(length) > self.max_bytes:
            return None
        return DirectExchange(self, connection, target, found)


@functools.lru_cache(maxsize=1024)
def _target(url: bytes) -> tuple[str, str] | None:
    """The model and the version, or an empty one, that a plain URL names."""
    found = _URL.fullmatch(url)
    return None if found is None else (found[1].decode(), (found[2] or b"").decode())


class DirectExchange(DirectInference, DirectCycle):
    """One request and its answer."""

    __slots__ = (
        "_arrived",
        "_body",
        "_connection",
        "_form",
        "_frontend",
        "_headers",
        "_held",
        "_id",
        "_inference",
        "_model",
        "_refusal",
        "_task",
        "_version",
    )

    def __init__(
        self,
        frontend: DirectFrontend,
        connection: GuardedProtocol,
        target: tuple[str, str],
        headers: dict[bytes, bytes],
    ) -> None:
        super().__init__(keep_alive=connection.parser.should_keep_alive())
        self._frontend = frontend
        self._connection = connection
        self._model, self._version = target
        self._headers = headers
        self._id = identity.request_id(headers.get(_ID, b""))
        self._body: bytes | bytearray = b""
        self._held = 0
        self._arrived = perf_counter()
        self._form = oip_json.JSON
        self._inference: Inference | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusal: LupineError | None = None

    def add(self, part: bytes) -> None:
        """Part of the body."""
        if self._refusal is not None:
            return
        try:
            self._frontend.held.hold(len(part))
        except ShedError as error:
            self._refusal = error
            self._let_go()
            return
        self._held += len(part)
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            self._body = bytearray(self._body)
            self._body += part

    def whole(self) -> None:
        """The body is whole: begin. Refusals too are sent in a later turn of the loop."""
        self._arrived = perf_counter()
        if self._refusal is not None:
            self._frontend.telemetry.shed(self._label(), "memory")
            self._connection.loop.call_soon(self._settled, self._refusal)
            return
        try:
            self._put(self._decode())
        except LupineError as error:
            self._connection.loop.call_soon(self._settled, error)
        except Exception:  # noqa: BLE001 - a defect of ours is answered as every failure, and logged
            self._connection.loop.call_soon(self._tell_broken, self._logged())

    def gone(self) -> None:
        """The client has gone: nobody waits for it."""
        if self.response_complete:
            return
        self.response_complete = True
        self._withdraw()
        self._count(CLIENT_GONE, self._version)
        self._let_go()

    def _decode(self) -> InferRequest:
        if not self._body:
            raise InvalidRequestError("the body is empty: an inference request is expected")
        given = self._headers.get(_TIMEOUT)
        timeout = None if given is None else deadline.from_header(given.decode("latin-1"))
        given = self._headers.get(_JSON_LENGTH)
        request, self._form = oip_json.decode_request(
            memoryview(self._body),
            model=self._model,
            version=self._version,
            header_length=None if given is None else oip_json.header_length(given),
            timeout=timeout,
            key=self._headers.get(_KEY, b"").decode("latin-1"),
        )
        return request

    def _settled(self, outcome: InferResponse | LupineError) -> None:
        self._inference = None
        if isinstance(outcome, LupineError):
            self._refuse(outcome)
            return
        try:
            parts, json_length = oip_json.encode_response(outcome, self._form)
        except LupineError as error:
            self._refuse(error)
            return
        except Exception:  # noqa: BLE001 - as above
            self._broke()
            return
        head = _JSON if json_length is None else _BINARY % json_length
        accepted = self._headers.get(_ACCEPT)
        size = sum(map(len, parts))
        if accepted is not None and worth_compressing(size):
            self._start(self._compressed(parts, head, accepted.decode("latin-1"), outcome.version))
        else:
            self._send(HTTPStatus.OK.value, head, parts, size, outcome.version)

    async def _compressed(
        self, parts: oip_json.Parts, head: bytes, accepted: str, version: str
    ) -> None:
        body, encoding = await compress(b"".join(parts), accepted)
        if encoding is not None:
            head += b"content-encoding: %b\r\n" % encoding
        self._send(HTTPStatus.OK.value, head, [body], len(body), version)

    def _refuse(self, error: LupineError) -> None:
        body = encode({"error": error.message})
        more = b"".join(
            f"{name}: {value}\r\n".encode() for name, value in status.retry_after(error).items()
        )
        self._send(status.HTTP[type(error)], _JSON + more, [body], len(body), "")

    def _tell_broken(self, text: str) -> None:
        body = encode({"error": text})
        self._send(HTTPStatus.INTERNAL_SERVER_ERROR.value, _JSON, [body], len(body), "")

    def _send(self, code: int, head: bytes, parts: oip_json.Parts, size: int, version: str) -> None:
        if self.response_complete:
            return
        connection = self._connection
        # Before the answer leaves: what a client has heard is counted, whenever we are killed.
        self._count(code, version)
        self._let_go()
        self.response_started = self.response_complete = True
        transport = connection.transport
        if transport.is_closing():
            return
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        whole = b"%b%b%b%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n" % (
            STATUS_LINE[code], connection.default_head(), head, closing, size, self._id,
        )  # fmt: skip
        if size <= _JOINED:
            transport.write(b"".join((whole, *parts)))
        else:
            transport.writelines((whole, *parts))
        if not self.keep_alive:
            transport.close()
        connection.on_response_complete()

    def _count(self, code: int, version: str) -> None:
        self._frontend.telemetry.request(
            model=self._label(),
            version=version,
            protocol="http",
            code=str(code),
            seconds=perf_counter() - self._arrived,
        )

    def _let_go(self) -> None:
        self._release()
        self._body = b""
