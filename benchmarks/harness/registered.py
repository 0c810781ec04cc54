"""Registers models with an MLflow server over its REST API, byte for byte as they are given."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.registry import trust

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


class Registered:
    """A registry, from the side of those who publish.

    Args:
        url: of the MLflow server.
        auth: the name and the password of who publishes.
        certificate: that the server shows.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: tuple[str, str] | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.url = url
        # MLflow closes a connection that is idle for 5 s: it must not be the one that is taken.
        limits = httpx.Limits(keepalive_expiry=1.0)
        self._client = httpx.Client(
            base_url=url,
            timeout=60,
            trust_env=False,
            limits=limits,
            auth=auth,
            verify=trust(certificate),
        )
        self._run: dict[str, str] | None = None

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def model(self, name: str, *, serve: bool = True) -> None:
        """Register a model without versions, to be served or not."""
        tags = [{"key": "lupine.serve", "value": str(serve).lower()}]
        self._post("registered-models/create", {"name": name, "tags": tags})

    def version(
        self, name: str, files: Mapping[str, bytes], tags: Mapping[str, str] | None = None
    ) -> str:
        """Register a version with these files at the top of its artifacts; gives its number."""
        run = self._run_of_ours()
        source = f"{run['artifact_uri']}/{uuid.uuid4().hex}"
        folder = source.removeprefix("mlflow-artifacts:/")
        for path, content in files.items():
            put = self._client.put(f"{_ARTIFACTS}/{folder}/{path}", content=content)
            put.raise_for_status()
        body = {
            "name": name,
            "source": source,
            "run_id": run["run_id"],
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
        }
        answer = self._post("model-versions/create", body)
        return str(answer["model_version"]["version"])

    def _run_of_ours(self) -> dict[str, str]:
        """A run, within whose artifacts the registry lets versions be."""
        if self._run is None:
            self._run = self._post("runs/create", {"experiment_id": "0"})["run"]["info"]
        return self._run

    def webhook(self, url: str, secret: str) -> None:
        """Have the registry tell a gateway of every alias that is set, signed with a secret."""
        event = {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}
        body = {
            "name": "lupine",
            "url": f"{url}/lupine/v1/webhooks/mlflow",
            "events": [event],
            "secret": secret,
        }
        self._post("webhooks", body)

    def alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        body = {"name": name, "alias": alias, "version": version}
        self._post("registered-models/alias", body)

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        body = {"name": name, "version": version, "key": key, "value": value}
        self._post("model-versions/set-tag", body)

    def aliases(self, name: str) -> dict[str, str]:
        """The aliases of a model, each with its version."""
        answer = self._client.get(f"{_API}/registered-models/get", params={"name": name})
        found = answer.raise_for_status().json()["registered_model"].get("aliases", [])
        return {one["alias"]: str(one["version"]) for one in found}

    def content(self, name: str, version: str, path: str = "model.onnx") -> bytes:
        """A file of a version, as the registry hands it out."""
        asked = {"name": name, "version": version}
        answer = self._client.get(f"{_API}/model-versions/get-download-uri", params=asked)
        folder = answer.raise_for_status().json()["artifact_uri"].removeprefix("mlflow-artifacts:/")
        artifact = self._client.get(f"{_ARTIFACTS}/{folder.strip('/')}/{path}")
        return artifact.raise_for_status().content

    def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away."""
        self._delete("registered-models/alias", {"name": name, "alias": alias})

    def delete_version(self, name: str, version: str) -> None:
        """Delete a version."""
        self._delete("model-versions/delete", {"name": name, "version": version})

    def rename(self, name: str, new: str) -> None:
        """Give a model another name."""
        self._post("registered-models/rename", {"name": name, "new_name": new})

    def _post(self, path: str, body: Mapping[str, object]) -> Any:
        answer = self._client.post(f"{_API}/{path}", json=body)
        return answer.raise_for_status().json()

    def _delete(self, path: str, body: Mapping[str, object]) -> None:
        self._client.request("DELETE", f"{_API}/{path}", json=body).raise_for_status()
