"""The model-repository extension of the protocol, from the caller's side."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from service.errors import LupineError, UnavailableError
from service.frontends.admin import is_loopback
from service.repository import layout
from service.settings import Settings

_ASK_SECONDS = 10.0
_LOAD_SECONDS = 600.0  # a large model on a cold disk


class RefusedError(LupineError):
    """The server answered, and not with what was asked for."""


class RepositoryClient:
    """Speaks to one gateway, or to a Triton, over HTTP.

    Args:
        url: its base URL.
        settings: the admin key, and where the repository may be on this machine.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RefusedError(f"--url is {url!r:.200}: such as http://127.0.0.1:3000 is expected")
        self._url = url.rstrip("/")
        self._local = is_loopback(parts.hostname)
        self._repository = settings.repository.path
        key = settings.admin_key.get_secret_value()
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=_ASK_SECONDS,
            trust_env=not self._local,  # a proxy knows nothing of this machine's loopback
        )

    def __enter__(self) -> Self:
        """Connections are made when they are needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them."""
        self._client.close()

    def models(self) -> list[dict[str, Any]]:
        """Every version in the index, with the bytes that it takes where those can be told.

        Returns:
            name, version, state, reason (empty where there is none), memory_bytes (as Triton's
            statistics tell) and disk_bytes (the version's files), each None where unknown.

        Raises:
            UnavailableError: nobody answers.
            RefusedError: the answer is none that a gateway gives.
        """
        index = self._ask("POST", "/v2/repository/index").json()
        used = self._memory() if any(m.get("state") == "READY" for m in index) else {}
        return [
            {
                "name": found["name"],
                "version": str(found.get("version", "")),
                "state": found.get("state") or "UNAVAILABLE",
                "reason": found.get("reason", ""),
                "memory_bytes": used.get((found["name"], str(found.get("version", "")))),
                "disk_bytes": self._on_disk(found["name"], str(found.get("version", ""))),
            }
            for found in sorted(index, key=_order)
        ]

    def load(self, model: str) -> None:
        """Load a model; what the server has against it is raised as RefusedError."""
        self._ask("POST", f"/v2/repository/models/{quote(model, safe='')}/load", _LOAD_SECONDS)

    def unload(self, model: str) -> None:
        """Unload a model; what the server has against it is raised as RefusedError."""
        self._ask("POST", f"/v2/repository/models/{quote(model, safe='')}/unload", _LOAD_SECONDS)

    def _memory(self) -> dict[tuple[str, str], int]:
        """What Triton measured, for the backends that report it."""
        try:
            answer = self._ask("GET", "/v2/models/stats").json()
            return {
                (entry["name"], entry["version"]): sum(
                    int(used["byte_size"]) for used in entry["memory_usage"]
                )
                for entry in answer["model_stats"]
                if entry.get("memory_usage")
            }
        except (LupineError, KeyError, TypeError, ValueError):
            return {}  # the list is worth having without it

    def _on_disk(self, model: str, version: str) -> int | None:
        folder: Path = self._repository / model / version
        if not (self._local and layout.is_model_name(model) and layout.is_version(version)):
            return None
        if not folder.is_dir():
            return None
        return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())

    def _ask(self, method: str, path: str, seconds: float = _ASK_SECONDS) -> httpx.Response:
        try:
            answer = self._client.request(method, self._url + path, timeout=seconds)
        except httpx.TimeoutException:
            raise UnavailableError(
                f"{self._url} took the request and gave no answer within {seconds:g} s"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(
                f"nothing answers at {self._url} ({error}): start `lupine serve`, "
                "or name the gateway with --url"
            ) from None
        if answer.is_success:
            return answer
        hint = (
            ": set LUPINE_ADMIN_KEY to its key"
            if answer.status_code == httpx.codes.UNAUTHORIZED
            else ""
        )
        raise RefusedError(f"{_reason(answer) or self._stranger(answer)}{hint}")

    def _stranger(self, answer: httpx.Response) -> str:
        said = f"{answer.status_code} {answer.reason_phrase}"
        return f"{self._url} answers {said} to {answer.request.url.path}: is that a gateway?"


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _order(found: dict[str, Any]) -> tuple[str, int]:
    version = str(found.get("version", ""))
    return found["name"], int(version) if version.isdigit() else 0
