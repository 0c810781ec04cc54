"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from service.frontends import openapi, status
from service.frontends.docs import Docs
from service.frontends.http_body import Receive
from service.frontends.http_call import Scope, Send


@pytest.fixture(scope="module")
def typed() -> Any:
    """BentoML's own document of the service."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what BentoML's own imports meet
        service: Any = importlib.import_module("service.bento").Gateway
        return service.openapi_spec.asdict()


async def _elsewhere(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def pages(typed: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The pages, around an application that has none."""
    transport = httpx.ASGITransport(Docs(_elsewhere, lambda: typed))
    async with httpx.AsyncClient(transport=transport, base_url="http://lupine") as client:
        yield client


async def test_the_front_door_leads_to_the_docs(pages: httpx.AsyncClient) -> None:
    """By a relative address, so that a prefix in front of the gateway stays."""
    answer = await pages.get("/")
    assert answer.status_code == 307
    assert answer.headers["location"] == "docs"


async def test_the_page_loads_nothing_from_elsewhere(pages: httpx.AsyncClient) -> None:
    """No address of another host in it, and a policy that forbids one."""
    page = await pages.get("/docs")
    assert not re.search(r"//\w", page.text)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


async def test_the_pages_own_script_is_the_one_that_the_policy_allows(
    pages: httpx.AsyncClient,
) -> None:
    """Its hash is in the policy, so the browser runs it, and no other inline one."""
    page = await pages.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]


async def test_the_document_holds_the_protocol_and_the_typed_apis(
    pages: httpx.AsyncClient,
) -> None:
    """One document for both; BentoML's own words about itself stay out."""
    document = (await pages.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "/v2/models/{model}/infer" in document["paths"]
    assert {"200", "400", "413", "503", "504"} <= set(
        document["paths"]["/identify"]["post"]["responses"]
    )
    assert "bentoml.com" not in json.dumps(document)


async def test_other_methods_are_405_and_other_paths_passed_on(pages: httpx.AsyncClient) -> None:
    """The docs can be read, nothing else."""
    assert (await pages.post("/docs")).status_code == 405
    assert (await pages.head("/openapi.json")).status_code == 200
    assert (await pages.get("/elsewhere")).status_code == 418


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_every_reference_in_the_document_leads_somewhere(typed: Any) -> None:
    """Ours and BentoML's, after they were joined."""
    document = openapi.document(typed)
    for reference in _references(document):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_the_document_names_every_status_of_an_inference() -> None:
    """Whatever the table of failures has, but for what an inference cannot meet."""
    responses = openapi.document()["paths"]["/v2/models/{model}/infer"]["post"]["responses"]
    credentials = {401, 403}
    assert {str(code) for code in {*status.HTTP.values()} - credentials} <= set(responses)


@pytest.mark.parametrize("engine", ["echo"])
def test_the_gateway_knows_every_path_of_the_document(http: httpx.Client) -> None:
    """Each method of each path is answered, and not by `no such path`."""
    for path, item in openapi.document()["paths"].items():
        for method in set(item) & {"get", "post"} if path.startswith(("/v2", "/lupine")) else ():
            url = path.replace("{model}", "guest").replace("{version}", "1")
            if url.endswith("/unload"):
                continue  # the session's gateway goes on serving
            answer = http.request(method, url)
            assert answer.status_code in (200, 400), (method, url, answer.text)
