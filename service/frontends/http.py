"""The Open Inference Protocol v2 over HTTP, as plain ASGI: no framework on the hot path.

Source: required_api.md (KServe) and Triton's extensions for the binary tensor data, the model
repository, the model configuration and statistics.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from time import perf_counter
from typing import Any
from urllib.parse import unquote_to_bytes

from service.dataplane import DataPlane
from service.errors import (
    InvalidRequestError,
    LupineError,
    NotFoundError,
    ShedError,
    UnsupportedError,
)
from service.frontends import admin, http_access, http_intake, identity
from service.frontends.admin import AdminGate
from service.frontends.http_admin import Administration, Syncing
from service.frontends.http_body import Bodies, Body, ClientGoneError, Receive, compress
from service.frontends.http_call import (
    CLIENT_GONE,
    JSON,
    Call,
    Headers,
    Scope,
    Send,
    code_of,
    encode,
)
from service.protocol import deadline
from service.protocol.messages import Servable, TensorSpec
from service.telemetry import Telemetry
from service.wires import oip_json

PREFIX = "/v2"
CONTROL = "/lupine"
_CONTROL = CONTROL.encode()
_BINARY = (b"content-type", b"application/octet-stream")
_NOT_OFFERED = ("trace", "logging", "systemsharedmemory", "cudasharedmemory")

_log = logging.getLogger(__name__)


class HttpFrontend:
    """An ASGI application for everything under `/v2`."""

    def __init__(
        self,
        dataplane: DataPlane,
        telemetry: Telemetry,
        gate: AdminGate,
        bodies: Bodies,
        syncing: Syncing,
    ) -> None:
        self._dataplane = dataplane
        self._telemetry = telemetry
        self._gate = gate
        self._bodies = bodies
        self._administration = Administration(dataplane, telemetry, gate, bodies, syncing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every failure is answered with its reason."""
        call = Call(scope, receive, send)
        call.span = http_access.span(call, self._telemetry)
        try:
            if scope["raw_path"].startswith(_CONTROL):
                await self._administration.dispatch(call, _segments(scope))
            else:
                await self._dispatch(call, _segments(scope))
        except LupineError as error:
            await call.refuse(error)
        except ClientGoneError:
            return
        except Exception:  # noqa: BLE001 - a defect of ours is answered as every failure, and logged
            _log.exception("request %s failed", call.request_id.decode())
            text = f"an error of the gateway itself; its log has it as {call.request_id.decode()}"
            await call.answer(HTTPStatus.INTERNAL_SERVER_ERROR, encode({"error": text}), JSON)
        finally:
            if self._telemetry.access_log is not None:
                http_access.write(self._telemetry.access_log, call)

    async def _dispatch(self, call: Call, segments: list[str]) -> None:
        match segments:
            case ["models", model, "infer"]:
                await self._infer(call, model, "")
            case ["models", model, "versions", version, "infer"]:
                await self._infer(call, model, version)
            case ["models", "stats"]:
                await self._statistics(call, "", "")
            case ["models", model, *rest]:
                await self._model(call, model, rest)
            case ["repository", *rest]:
                await self._repository(call, rest)
            case _:
                await self._server(call, segments)

    async def _server(self, call: Call, segments: list[str]) -> None:
        match segments:
            case []:
                call.allow("GET")
                await call.reply(self._dataplane.about())
            case ["health", "live"]:
                call.allow("GET")
                live = self._dataplane.live()
                await call.reply({"live": live}, _probe(live))
            case ["health", "ready"]:
                await _readiness(call, ready=await self._dataplane.ready())
            case [first, *_] if first in _NOT_OFFERED:
                raise UnsupportedError(f"Triton's extension {first!r} is not offered here")
            case _:
                raise NotFoundError("no such path under /v2: see /docs")

    async def _repository(self, call: Call, rest: Sequence[str]) -> None:
        match rest:
            case ["index"]:
                await self._index(call)
            case ["models", model, ("load" | "unload") as verb]:
                await self._control(call, model, verb)
            case _:
                raise NotFoundError(
                    "no such path under /v2/repository: index and models/<name>/load or unload are"
                )

    async def _model(self, call: Call, model: str, rest: Sequence[str]) -> None:
        version = ""
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        match rest:
            case []:
                found, versions = await self._dataplane.servable(model, version)
                call.allow("GET")
                await call.reply(_metadata(model, found, versions))
            case ["ready"]:
                await _readiness(call, ready=await self._dataplane.model_ready(model, version))
            case ["config"]:
                found, _ = await self._dataplane.servable(model, version)
                call.allow("GET")
                await call.reply(found.config)
            case ["stats"]:
                await self._statistics(call, model, version)
            case _:
                raise NotFoundError(
                    "no such path under /v2/models/<name>: infer, ready, config and stats are there"
                )

    async def _statistics(self, call: Call, model: str, version: str) -> None:
        found = await self._dataplane.statistics(model, version)
        call.allow("GET")
        await call.reply({"model_stats": list(found)})

    async def _index(self, call: Call) -> None:
        call.allow("POST")
        asked = await http_intake.read_object(self._bodies, call)
        ready = asked.get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidRequestError(f"'ready' is {ready!r:.60}: true or false is expected")
        states = await self._dataplane.index(ready=ready)
        await call.reply([_state(state) for state in states])

    async def _control(self, call: Call, model: str, verb: str) -> None:
        call.allow("POST")
        self._gate.check(call.peer, http_intake.text(call.headers))
        parameters = (await http_intake.read_object(self._bodies, call)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidRequestError("'parameters' is no object")
        admin.check_names(parameters)
        admin.check_dependents(parameters)
        await (self._dataplane.load if verb == "load" else self._dataplane.unload)(model)
        await call.answer(HTTPStatus.OK, b"", JSON)

    async def _infer(self, call: Call, model: str, version: str) -> None:
        code = CLIENT_GONE
        arrived = call.started
        try:
            call.allow("POST")
            with call.while_connected():
                body = await http_intake.read(self._bodies, call)
                arrived = perf_counter()
                answer, headers = await self._run(call, model, version, body)
            code = HTTPStatus.OK.value
        except LupineError as error:
            code = code_of(error)
            if isinstance(error, ShedError) and error.reason == "memory":  # met on this side
                self._telemetry.shed(self._dataplane.label(model), error.reason)
            raise
        except ClientGoneError:
            raise
        except Exception:
            code = HTTPStatus.INTERNAL_SERVER_ERROR.value
            raise
        finally:
            # Before the answer leaves: what a client has heard is counted, whenever we are killed.
            self._telemetry.request(
                model=self._dataplane.label(model),
                version=call.version,
                protocol="http",
                code=str(code),
                seconds=perf_counter() - arrived,
            )
        await call.answer(HTTPStatus.OK, answer, *headers)

    async def _run(self, call: Call, model: str, version: str, body: Body) -> tuple[bytes, Headers]:
        try:
            if not body.data:
                raise InvalidRequestError("the body is empty: an inference request is expected")
            request, form = oip_json.decode_request(
                body.data,
                model=model,
                version=version,
                header_length=_header_length(call),
                timeout=deadline.from_header(call.text(b"x-request-timeout-ms")),
                key=call.text(identity.KEY.encode()) or "",
            )
            if call.span is not None:
                request = replace(request, span=call.span)
            response = await self._dataplane.infer(request)
            parts, json_length = oip_json.encode_response(response, form)
        finally:
            body.release()
        headers: Headers = [JSON]
        if json_length is not None:
            length = str(json_length).encode()
            headers = [_BINARY, (b"inference-header-content-length", length)]
        answer, encoding = await compress(b"".join(parts), call.text(b"accept-encoding"))
        if encoding:
            headers.append((b"content-encoding", encoding))
        call.version = response.version
        return answer, headers


def _segments(scope: Scope) -> list[str]:
    """The path below /v2, split before it is unquoted, so that a quoted slash splits nothing."""
    raw: bytes = scope["raw_path"]
    parts = [unquote_to_bytes(part) for part in raw.split(b"/")[2:]]
    try:
        found = [part.decode() for part in parts]
    except UnicodeDecodeError:
        raise InvalidRequestError("the path is not UTF-8") from None
    if found and not found[-1]:
        found.pop()  # a slash at the end
    return found


async def _readiness(call: Call, *, ready: bool) -> None:
    call.allow("GET")
    await call.reply({"ready": ready}, _probe(ready))


def _probe(well: bool) -> HTTPStatus:  # noqa: FBT001 - what is asked about
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE


def _header_length(call: Call) -> int | None:
    given = call.headers.get(b"inference-header-content-length")
    return None if given is None else oip_json.header_length(given)


def _state(state: Any) -> dict[str, str]:
    found = {"name": state.name}
    for key in ("version", "state", "reason"):
        if value := getattr(state, key):
            found[key] = value
    return found


def _metadata(name: str, servable: Servable, versions: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "versions": list(versions),
        "platform": servable.platform,
        "inputs": [_tensor(spec) for spec in servable.inputs.values()],
        "outputs": [_tensor(spec) for spec in servable.outputs.values()],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": list(spec.shape)}
