"""What the sync asks of an MLflow registry, over its REST API; `mlflow` itself is not needed.

Source: MLflow 3.17's REST API (`registered-models/search`, `model-versions/get`,
`model-versions/get-download-uri`, `registered-models/alias`) and its artifact proxy
(`mlflow-artifacts/artifacts`). One search tells all models with their aliases. Credentials come
from MLflow's own variables.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from service.settings import REGISTRY

_PAGE = 1_000  # models of one search
_MOST_PAGES = 20
_SECONDS = 30.0
_IDLE_SECONDS = 1.0  # MLflow closes a connection after 5: it must not be the one that is taken
_PROXIED = "mlflow-artifacts:"
_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_MOST_FILES = 1_000  # of one version
_TOLD = 300  # characters of what the registry says


class RegistryError(Exception):
    """The registry does not answer, or answers otherwise than MLflow does; says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A model of the registry: its aliases with their versions, and its own tags."""

    name: str
    aliases: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A version of a model, as the registry has it."""

    model: str
    version: str
    ready: bool
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a version: its name in the version's own folder, its size, and where it is."""

    name: str
    size: int  # bytes; -1: the registry does not say
    path: str
    folder: bool = False


class MlflowRegistry:
    """An MLflow server.

    Args:
        url: of the tracking server, http or https.
        environment: of MLflow's variables for credentials and certificates; the process's own
            where none is given.
        transport: instead of the network.

    Raises:
        RegistryError: the address is none, or a certificate cannot be read.
    """

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        given = os.environ if environment is None else environment
        if not url.startswith(("http://", "https://")):
            raise RegistryError(f"{REGISTRY} is {url!r}: http://… or https://… is expected")
        self.url = url.rstrip("/")
        headers, credentials = {}, None
        if token := given.get("MLFLOW_TRACKING_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        elif user := given.get("MLFLOW_TRACKING_USERNAME"):
            credentials = httpx.BasicAuth(user, given.get("MLFLOW_TRACKING_PASSWORD", ""))
        self._client = httpx.Client(
            base_url=self.url,
            headers=headers,
            auth=credentials,
            verify=_verification(given),
            timeout=_SECONDS,
            limits=httpx.Limits(keepalive_expiry=_IDLE_SECONDS),
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def models(self) -> list[RegisteredModel]:
        """Every registered model, by one call for each thousand.

        Raises:
            RegistryError: the registry does not answer as it should.
        """
        return [_model(one) for one in self._search("registered-models", "registered_models")]

    def tagged(self, key: str) -> dict[tuple[str, str], Mapping[str, str]]:
        """All tags of every version that has a tag with this key, by model and version.

        Raises:
            RegistryError: the registry does not answer as it should.
        """
        found = self._search("model-versions", "model_versions", f"tags.`{key}` LIKE '%'")
        return {(str(one.get("name")), str(one.get("version"))): _pairs(one) for one in found}

    def _search(self, what: str, key: str, wanted: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asked = {"max_results": str(_PAGE), **({"filter": wanted} if wanted else {})}
        for _ in range(_MOST_PAGES):
            answer = self._get(f"{_API}/{what}/search", asked)
            found += _list(answer, key)
            token = str(answer.get("next_page_token") or "")
            if not token:
                return found
            asked["page_token"] = token
        raise RegistryError(f"{self.url} finds more than {_PAGE * _MOST_PAGES:,} {what}")

    def version(self, model: str, version: str) -> RegisteredVersion:
        """What the registry knows of one version.

        Raises:
            RegistryError: there is none, or the registry does not answer as it should.
        """
        asked = {"name": model, "version": version}
        answer = self._get(f"{_API}/model-versions/get", asked).get("model_version", {})
        return RegisteredVersion(
            model=model,
            version=version,
            ready=answer.get("status", "READY") == "READY",
            tags=_pairs(answer),
        )

    def files(self, model: str, version: str) -> list[RemoteFile]:
        """The files at the top of a version's artifacts, and its folders.

        Raises:
            RegistryError: the artifacts are elsewhere than behind the registry's own proxy, there
                are too many, or the registry does not answer as it should.
        """
        asked = {"name": model, "version": version}
        where = str(self._get(f"{_API}/model-versions/get-download-uri", asked).get("artifact_uri"))
        if not where.startswith(_PROXIED):
            raise RegistryError(
                f"the artifacts of {model!r} version {version} are at {where:.100}, which this "
                "server does not hand out: start MLflow with --artifacts-destination"
            )
        root = where.removeprefix(_PROXIED).strip("/")
        files = _list(self._get(_ARTIFACTS, {"path": root}), "files")
        if len(files) > _MOST_FILES:
            raise RegistryError(f"{model!r} version {version} has {len(files):,} files")
        return [
            RemoteFile(
                name=str(one.get("path", "")),
                size=int(one.get("file_size", -1)),
                path=f"{root}/{one.get('path', '')}",
                folder=bool(one.get("is_dir")),
            )
            for one in files
        ]

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of a file from `start` on, where the registry can; else all of them.

        Gives the place of the first byte, and the bytes, piece by piece.

        Raises:
            RegistryError: the registry does not hand it out, or breaks off.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"{_ARTIFACTS}/{quote(file.path)}"
        try:
            with self._client.stream("GET", path, headers=headers) as answer:
                if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    yield start, iter(())
                    return
                if answer.is_error:
                    answer.read()
                self._check(answer)
                resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
                yield (start if resumed else 0), answer.iter_bytes(1 << 20)
        except httpx.HTTPError as error:
            raise self._away(error) from None

    def move_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version.

        Raises:
            RegistryError: the registry does not do it.
        """
        body = {"name": model, "alias": alias, "version": version}
        self._ask("POST", f"{_API}/registered-models/alias", json=body)

    def _get(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        return self._ask("GET", path, params=asked)

    def _ask(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **what)
        except httpx.HTTPError as error:
            raise self._away(error) from None
        self._check(answer)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RegistryError(f"{self.url}{path} answers with no JSON object: is it MLflow?")
        return found

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        path = answer.request.url.path
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RegistryError(
                f"{self.url} refuses {path} ({answer.status_code}): MLFLOW_TRACKING_USERNAME and "
                "_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who asks"
            )
        raise RegistryError(
            f"{self.url}{path} answers {answer.status_code}: {answer.text.strip()[:_TOLD]}"
        )

    def _away(self, error: httpx.HTTPError) -> RegistryError:
        return RegistryError(f"{self.url} does not answer: {error or type(error).__name__}")


def _verification(given: Mapping[str, str]) -> ssl.SSLContext | bool:
    if given.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        return False
    authority = given.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    certificate = given.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise RegistryError(
            f"the certificate {authority or certificate} cannot be used: {error}"
        ) from None
    return context


def _model(one: Mapping[str, Any]) -> RegisteredModel:
    aliases = {str(a["alias"]): str(a["version"]) for a in _list(one, "aliases")}
    return RegisteredModel(name=str(one.get("name", "")), aliases=aliases, tags=_pairs(one))


def _pairs(one: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag.get("key", "")): str(tag.get("value", "")) for tag in _list(one, "tags")}


def _list(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = answer.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RegistryError(f"the registry answers with {key!r} that is no list of objects")
    return found
