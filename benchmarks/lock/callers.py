"""Who asks: what a request bears as its credential, and what speaks of a proxy or a browser."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

KEY = "Correct-Horse-17"
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """The headers of a request that say who asks.

    Args:
        group: what kind of caller, a row of the table.
        name: which one.
        headers: lower-case names, in their order; a name may come twice.
        bears: whether the gateway's key is among them, as it must be borne.
        forwarded: whether they speak of a proxy or a browser.
    """

    group: str
    name: str
    headers: Headers = ()
    bears: bool = False
    forwarded: bool = False


def _bearer(token: str, scheme: str = "Bearer ") -> tuple[str, str]:
    return ("authorization", f"{scheme}{token}")


NOBODY = Caller("no credential", "no header")
WRONG = Caller("a wrong one", "another key", (_bearer("wrong"),))
RIGHT = Caller("the key", "Bearer", (_bearer(KEY),), bears=True)

_BASE64 = base64.b64encode(KEY.encode()).decode()
_BINARY = base64.b64encode(f"Bearer {KEY}".encode()).decode()
_BASIC = base64.b64encode(f"admin:{KEY}".encode()).decode()
_EMPTY: dict[str, str] = {
    "an empty header": "",
    "a bearer of nothing": "Bearer",
    "a bearer of a space": "Bearer ",
    "a bearer of null": "Bearer null",
}
_WRONG: dict[str, Headers] = {
    "in another case": (_bearer(KEY.lower()),),
    "in capitals": (_bearer(KEY.upper()),),
    "a prefix of the key": (_bearer(KEY[:-1]),),
    "the key and more": (_bearer(KEY + "x"),),
    "the key in quotes": (_bearer(f'"{KEY}"'),),
    "the key in base64": (_bearer(_BASE64),),
    "bytes": (_bearer("\xe9\xff"),),
    "a long one": (_bearer("k" * 4000),),
    "twice in one header": (_bearer(f"{KEY}, Bearer {KEY}"),),
    "a wrong one twice": (_bearer("wrong"), _bearer("wronger")),
    "the key, then a wrong one": (_bearer(KEY), _bearer("wrong")),
}
_ELSEWHERE: dict[str, Headers] = {
    "basic": (_bearer(_BASIC, "Basic "),),
    "basic, as it is": (_bearer(KEY, "Basic "),),
    "digest": (_bearer(KEY, "Digest "),),
    "no scheme": (_bearer(KEY, ""),),
    "a scheme run into it": (_bearer(KEY, "Bearer"),),
    "proxy-authorization": (("proxy-authorization", f"Bearer {KEY}"),),
    "x-api-key": (("x-api-key", KEY),),
    "x-lupine-admin-key": (("x-lupine-admin-key", KEY),),
    "a cookie": (("cookie", f"authorization=Bearer {KEY}"),),
    "authorization-bin": (("authorization-bin", _BINARY),),
}
_RIGHT: dict[str, Headers] = {
    "bearer, in small letters": (_bearer(KEY, "bearer "),),
    "the key twice": (_bearer(KEY), _bearer(KEY)),
    "a wrong one, then the key": (_bearer("wrong"), _bearer(KEY)),  # the last counts
}
# What proxies, tunnels and browsers add, each alone; the values claim what would be let in.
_TOLD: Headers = (
    ("forwarded", "for=127.0.0.1;proto=http"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-for", "::1"),
    ("x-forwarded-for", ""),
    ("x-forwarded-host", "localhost"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "80"),
    ("x-forwarded-server", "localhost"),
    ("x-forwarded-prefix", "/"),
    ("x-forwarded-client-cert", "By=local"),
    ("x-original-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("x-client-ip", "127.0.0.1"),
    ("x-cluster-client-ip", "127.0.0.1"),
    ("x-envoy-external-address", "127.0.0.1"),
    ("x-envoy-expected-rq-timeout-ms", "15000"),
    ("true-client-ip", "127.0.0.1"),
    ("cf-connecting-ip", "127.0.0.1"),
    ("via", "1.1 localhost"),
    ("origin", "http://127.0.0.1"),
    ("origin", "null"),
)


def callers() -> Iterator[Caller]:
    """All of them."""
    yield from (NOBODY, WRONG, RIGHT)
    for name, value in _EMPTY.items():
        yield Caller("an empty one", name, (("authorization", value),))
    for name, headers in _WRONG.items():
        yield Caller(WRONG.group, name, headers)
    for name, headers in _ELSEWHERE.items():
        yield Caller("the key, borne otherwise", name, headers)
    for name, headers in _RIGHT.items():
        yield Caller(RIGHT.group, name, headers, bears=True)
    for header in _TOLD:
        name = f"{header[0]}: {header[1]}"
        yield Caller("behind a proxy or a browser", name, (header,), forwarded=True)
    for header in _TOLD[:2]:
        headers = (*RIGHT.headers, header)
        yield Caller("the key, behind a proxy", header[0], headers, bears=True, forwarded=True)
