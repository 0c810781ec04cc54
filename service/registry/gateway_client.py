"""The gateway, as the sync asks it: load, whether a version is READY, look at the routes again."""

from __future__ import annotations

import time
from contextlib import suppress
from urllib.parse import quote

import httpx

from service.registry.refused import RefusedVersionError

_LOAD_SECONDS = 150.0
_ASK_SECONDS = 5.0
_READY_SECONDS = 60.0
_PAUSE = 0.1
_TOLD = 500


class GatewayClient:
    """A gateway that may be running.

    Args:
        url: where its HTTP is.
        admin_key: the bearer token; empty: none is set.
    """

    def __init__(self, url: str, admin_key: str) -> None:
        headers = {"Authorization": f"Bearer {admin_key}"} if admin_key else {}
        self._client = httpx.Client(
            base_url=url, headers=headers, timeout=_ASK_SECONDS, trust_env=False
        )

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def running(self) -> bool:
        """Whether somebody answers there."""
        try:
            return self._client.get("/v2/health/live").is_success
        except httpx.HTTPError:
            return False

    def load(self, model: str) -> None:
        """Load a model, or load it again as its configuration now says.

        Raises:
            RefusedVersionError: the gateway does not, and why; what served before still does.
        """
        path = f"/v2/repository/models/{quote(model)}/load"
        self._post(path, _LOAD_SECONDS)

    def await_ready(self, model: str, version: str) -> None:
        """Wait until a version is READY.

        Raises:
            RefusedVersionError: it is not in time.
        """
        path = f"/v2/models/{quote(model)}/versions/{version}/ready"
        begun = time.monotonic()
        while time.monotonic() - begun < _READY_SECONDS:
            with suppress(httpx.HTTPError):  # a gateway that is being restarted: it is asked again
                if self._client.get(path).is_success:
                    return
            time.sleep(_PAUSE)
        raise RefusedVersionError(f"it is not READY within {_READY_SECONDS:g} s", final=False)

    def routes_changed(self) -> None:
        """Have every worker look at the routes before its next request.

        Raises:
            RefusedVersionError: the gateway does not.
        """
        self._post("/lupine/v1/routes", _ASK_SECONDS)

    def _post(self, path: str, seconds: float) -> None:
        try:
            answer = self._client.post(path, timeout=seconds)
        except httpx.HTTPError as error:
            told = error or type(error).__name__
            raise RefusedVersionError(
                f"the gateway does not answer {path}: {told}", final=False
            ) from None
        if answer.is_error:
            raise RefusedVersionError(
                f"the gateway answers {path} with {answer.status_code}: {answer.text[:_TOLD]}",
                final=False,
            )
