from __future__ import annotations

import pytest

from service.errors import ForbiddenError, LupineError, UnauthenticatedError
from service.frontends.admin import AdminGate, is_loopback

LOCAL = "127.0.0.1"
REMOTE = "192.0.2.7"
BEARER = {"authorization": "Bearer key"}

# key, the gateway's address, the peer, headers, and what comes of it
RULES: list[tuple[str, str, str, dict[str, str], type[LupineError] | None]] = [
    # without a key: plainly local, or not at all
    ("", LOCAL, LOCAL, {}, None),
    ("", "::1", "::1", {}, None),
    ("", "localhost", "127.0.0.2", {}, None),
    ("", LOCAL, LOCAL, BEARER, None),
    ("", LOCAL, LOCAL, {"host": "gateway.example"}, None),
    ("", LOCAL, REMOTE, {}, ForbiddenError),
    ("", LOCAL, "", {}, ForbiddenError),
    ("", "0.0.0.0", LOCAL, {}, ForbiddenError),  # noqa: S104 - an address to refuse
    ("", "::", LOCAL, {}, ForbiddenError),
    ("", REMOTE, LOCAL, {}, ForbiddenError),
    ("", "gateway.example", LOCAL, {}, ForbiddenError),
    ("", LOCAL, LOCAL, {"forwarded": "for=1.2.3.4"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"x-forwarded-for": "1.2.3.4"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"x-forwarded-host": "a"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"x-forwarded-proto": "https"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"x-envoy-expected-rq-timeout-ms": "1"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"cf-connecting-ip": "1.2.3.4"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"x-real-ip": ""}, ForbiddenError),
    ("", LOCAL, LOCAL, {"via": "1.1 proxy"}, ForbiddenError),
    ("", LOCAL, LOCAL, {"origin": "https://evil.example"}, ForbiddenError),
    # with a key: whoever bears it, from wherever
    ("key", LOCAL, LOCAL, BEARER, None),
    ("key", "0.0.0.0", REMOTE, BEARER, None),  # noqa: S104 - an address to allow with a key
    ("key", LOCAL, LOCAL, BEARER | {"x-forwarded-for": "1.2.3.4"}, None),
    ("key", LOCAL, LOCAL, {"authorization": "bearer  key "}, None),
    ("ключ", LOCAL, LOCAL, {"authorization": "Bearer ключ".encode().decode("latin-1")}, None),
    ("key", LOCAL, LOCAL, {}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "Bearer"}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "Bearer "}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "Bearer Key"}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "Bearer key2"}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "Bearer \xff"}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "Basic key"}, UnauthenticatedError),
    ("key", LOCAL, LOCAL, {"authorization": "key"}, UnauthenticatedError),
]


@pytest.mark.parametrize(("key", "host", "peer", "headers", "error"), RULES)
def test_who_may_change_what_is_served(
    key: str, host: str, peer: str, headers: dict[str, str], error: type[LupineError] | None
) -> None:
    """The rules, one a line."""
    gate = AdminGate(key, host)
    if error is None:
        gate.check(peer, headers)
    else:
        with pytest.raises(error) as refused:
            gate.check(peer, headers)
        assert "LUPINE_ADMIN_KEY" in refused.value.message or "admin key" in refused.value.message


def test_a_refusal_never_shows_the_key_nor_what_was_tried() -> None:
    """Both may be secrets."""
    with pytest.raises(UnauthenticatedError) as refused:
        AdminGate("hush", LOCAL).check(LOCAL, {"authorization": "Bearer mistyped"})
    assert "hush" not in refused.value.message
    assert "mistyped" not in refused.value.message


@pytest.mark.parametrize(
    ("host", "stays"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),  # noqa: S104 - an address to tell apart
        ("localhost.example", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_what_stays_on_this_machine(
    host: str,
    stays: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """By address, or by the one name that means it."""
    assert is_loopback(host) is stays
