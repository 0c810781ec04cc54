"""Who may change what is served.

With a key: whoever bears it. Without one: a loopback peer, and only while the gateway listens on
loopback alone and the request carries no sign of a proxy or of a web page in a browser, behind
either of which every peer looks local.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from service.errors import ForbiddenError, UnauthenticatedError, UnsupportedError

# What the names of such headers begin with: Envoy, for one, may add x-forwarded-proto alone.
_TELLTALES = (
    "forwarded", "x-forwarded", "x-original-", "x-real-ip", "x-client-ip", "x-cluster-client-ip",
    "x-envoy-", "true-client-ip", "cf-", "via", "origin",
)  # fmt: skip


class AdminGate:
    """Checks the peer and the credential of a request that would change something.

    Args:
        key: the bearer token; empty: none is set.
        host: the address that the gateway listens on.
    """

    def __init__(self, key: str, host: str) -> None:
        self._key = key.encode()
        self._listens_on_loopback = is_loopback(host)

    def check(self, peer: str, headers: Mapping[str, str]) -> None:
        """Let the request pass, or not.

        Args:
            peer: the address at the other end of the connection.
            headers: by lower-case name.

        Raises:
            UnauthenticatedError: a key is set, and the request does not bear it.
            ForbiddenError: no key is set, and the request is not plainly local.
        """
        if self._key:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise UnauthenticatedError("this needs 'Authorization: Bearer <LUPINE_ADMIN_KEY>'")
            # Header values are bytes that were read as Latin-1.
            if not hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._key):
                raise UnauthenticatedError("the bearer token is not the gateway's admin key")
            return
        if not (self._listens_on_loopback and is_loopback(peer)):
            raise ForbiddenError(
                "only a loopback peer of a gateway that listens on loopback may do this: "
                "set LUPINE_ADMIN_KEY to allow others"
            )
        if found := [name for name in headers if name.startswith(_TELLTALES)]:
            raise ForbiddenError(
                f"the header {found[0]!r} speaks of a proxy or a browser, behind which any peer "
                "looks local: set LUPINE_ADMIN_KEY"
            )


def check_names(given: Iterable[str]) -> None:
    """Look at the names of the parameters of a load or unload, whatever their values.

    Raises:
        ForbiddenError: one would write a file into the server.
    """
    if found := [key for key in given if key == "config" or key.startswith("file:")]:
        raise ForbiddenError(
            f"parameter {found[0]!r:.200} would write into the server: "
            "models come from the repository alone"
        )


def check_dependents(given: Mapping[str, Any]) -> None:
    """Look for Triton's `unload_dependents`.

    Raises:
        UnsupportedError: it is asked for, and not offered.
    """
    if given.get("unload_dependents"):
        raise UnsupportedError("'unload_dependents' is not offered: unload each by its name")


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
