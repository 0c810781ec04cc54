"""Names, versions, methods and headers that lead nowhere they should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from benchmarks.hostile.case import HOST, INFER, Case, post, whole

_ROWS = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
_BODY = json.dumps(_ROWS).encode()

# As they stand in the request line.
_NAMES: dict[str, bytes] = {
    "two points": b"..",
    "two points, quoted": b"%2e%2e",
    "up and away": b"..%2f..%2f..%2fetc%2fpasswd",
    "up, quoted twice": b"%252e%252e%252frows",
    "up with backslashes": b"..%5c..%5crows",
    "one point": b".",
    "a quoted slash": b"rows%2f1",
    "an absolute path": b"%2fetc%2fpasswd",
    "a quoted zero": b"rows%00",
    "a quoted zero and a suffix": b"rows%00.onnx",
    "bytes that are no UTF-8": b"%ff%fe",
    "an overlong slash": b"..%c0%af",
    "raw bytes": b"\xc3\xbcber",
    "another alphabet": quote("модель").encode(),
    "letters that look alike": quote("rοws").encode(),  # noqa: RUF001 - that is the point
    "right to left": quote("\u202erows").encode(),
    "a line break": b"rows%0d%0aX-Injected:%20yes",
    "an alias of nothing": b"rows@",
    "an unknown alias": b"rows@champion",
    "nothing but an alias": b"@",
    "a blank": b"%20",
    "blanks around": b"%20rows%20",
    "upper case": b"ROWS",
    "a star": b"*",
    "a question": b"rows%3fversion=1",
    "a template": b"%7b%7b7*7%7d%7d",
    "a command": b"%24(id)",
    "a thousand letters": b"m" * 1000,
    "ten thousand letters": b"m" * 10_000,
    "half a quotation": b"rows%2",
    "a quotation of nothing": b"%zz",
}
_VERSIONS: dict[str, bytes] = {
    "zero": b"0",
    "negative": b"-1",
    "a fraction": b"1.0",
    "an exponent": b"1e0",
    "a leading zero": b"01",
    "with a sign": b"+1",
    "thirty digits": b"9" * 30,
    "ten thousand digits": b"9" * 10_000,
    "a word": b"latest",
    "hexadecimal": b"0x1",
    "another alphabet's digit": quote("１").encode(),  # noqa: RUF001 - that is the point
    "a superscript": quote("¹").encode(),
    "a quoted slash": b"1%2f..",
    "a blank": b"%201",
    "a zero byte": b"1%00",
    "two points": b"..",
}


def cases() -> Iterator[Case]:
    """All of them."""
    for name, raw in _NAMES.items():
        path = b"/v2/models/" + raw
        yield whole("names", f"{name}: metadata", _get(path), 400, 404)
        yield whole("names", f"{name}: config", _get(path + b"/config"), 400, 404)
        yield whole("names", f"{name}: infer", post(path + b"/infer", _BODY), 400, 404)
        control = b"/v2/repository/models/" + raw
        yield whole("names", f"{name}: load", post(control + b"/load", b""), 400, 404)
        yield whole("names", f"{name}: unload", post(control + b"/unload", b""), 400, 404)
    for name, raw in _VERSIONS.items():
        path = b"/v2/models/rows/versions/" + raw
        yield whole("versions", f"{name}: metadata", _get(path), 400, 404)
        yield whole("versions", f"{name}: infer", post(path + b"/infer", _BODY), 400, 404)
    yield from _paths()
    yield from _methods()
    yield from _headers()
    yield from _control()


def _get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def _paths() -> Iterator[Case]:
    for path in (
        b"/v2/models//infer",
        b"/v2/models/rows//infer",
        b"/v2//models/rows",
        b"/v2/models/rows/infer/more",
        b"/v2/models/rows/versions",
        b"/v2/models/rows;v=1/infer",
        b"/v2/models/rows/../rows/infer",
        b"/v2/../metrics",
        b"/v2/%2e%2e/metrics",
        b"/v2/.env",
        b"/v2/health/../../etc/passwd",
        b"/v2/models/rows/%69nfer%2f",
        b"/v2/repository/models/rows/delete",
        b"/v2/" + b"a/" * 5000,
    ):
        yield whole("paths", path[:40].decode(), post(path, _BODY), 400, 404, 405)


def _methods() -> Iterator[Case]:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "SEARCH"):
        data = post(INFER, _BODY, method=method.encode())
        yield whole("methods", f"{method} of an inference", data, 400, 405)
    for method in ("post", "BREW", "POSTPOST", "P" * 5000, "CONNECT"):
        data = post(INFER, _BODY, method=method.encode())
        yield whole("methods", f"{method[:20]} as a method", data, 400, 405)
    yield whole("methods", "POST of metadata", post("/v2/models/rows", b"{}"), 405)
    yield whole("methods", "GET of a load", _get(b"/v2/repository/models/rows/load"), 405)


def _headers() -> Iterator[Case]:
    for value in ("0", "-1", "soon", "nan", "inf", "1e400", "", "1 2", "9" * 400, "0x10", "٣"):
        latin = value.encode().decode("latin-1")
        data = post(INFER, _BODY, {"X-Request-Timeout-Ms": latin})
        yield whole("headers", f"X-Request-Timeout-Ms is {value[:20]!r}", data)
    for value in ("br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "x" * 1000, "\xff"):
        data = post(INFER, _BODY, {"Content-Encoding": value})
        yield whole("headers", f"Content-Encoding is {value[:20]!r}", data)


def _control() -> Iterator[Case]:
    load = "/v2/repository/models/rows/load"
    bodies: dict[str, tuple[bytes, int]] = {
        "a config": (b'{"parameters": {"config": "{}"}}', 403),
        "a file": (b'{"parameters": {"file:1/model.py": "aW1wb3J0IG9z"}}', 403),
        "a file outside": (b'{"parameters": {"file:../../x": ""}}', 403),
        "no object": (b"[]", 400),
        "parameters of text": (b'{"parameters": "config"}', 400),
        "broken JSON": (b'{"parameters": ', 400),
        "a deep nest": (b"[" * 100_000, 400),
    }
    for name, (body, code) in bodies.items():
        yield whole("control", f"load with {name}", post(load, body), code)
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip", "Origin"):
        data = post(load, b"", {header: "127.0.0.1"})
        yield whole("control", f"load with {header}", data, 401, 403)
    for value in (b"1", b'"yes"', b"null", b"[]"):
        data = post("/v2/repository/index", b'{"ready": ' + value + b"}")
        yield whole("control", f"index with ready {value.decode()}", data)
