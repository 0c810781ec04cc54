"""Schemathesis asks whatever our OpenAPI document allows, and much that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.frontends import openapi
from tests.serving import Serving, serving
from tests.serving import settings as gateway_settings

EXAMPLES = 25  # of each operation
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def _document() -> dict[str, Any]:
    """Ours, with names in the place of any text, so that most requests get beyond the 404."""
    document = openapi.document()
    for name, values in (("Model", ["rows", "greeting", "nobody"]), ("Version", ["1", "9"])):
        document["components"]["parameters"][name]["schema"] = {"type": "string", "enum": values}
    # A wait that is too short is rightly answered by 504.
    document["components"]["parameters"]["Timeout"] |= {"name": "X-Of-No-Meaning"}
    around = {"/livez", "/readyz", "/metrics"}  # BentoML's, and the supervisor's
    document["paths"] = {p: item for p, item in document["paths"].items() if p not in around}
    return document


def _fitting() -> dict[str, Any]:
    """Inference alone, with inputs narrowed down to what fits `rows`, so that many are served."""
    document = _document()
    path = "/v2/models/{model}/infer"
    document["paths"] = {path: document["paths"][path]}
    document["components"]["parameters"]["Model"]["schema"]["enum"] = ["rows"]
    fits = {
        "name": {"const": "x"},
        "datatype": {"const": "FP32"},
        "shape": {"const": [1, 3]},
        "data": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
    }
    schemas = document["components"]["schemas"]
    schemas["InferInput"] = {"properties": fits, "required": list(fits), "type": "object"}
    schemas["InferRequest"]["properties"]["inputs"] |= {"minItems": 1, "maxItems": 1}
    schemas["InferRequest"]["properties"]["outputs"]["maxItems"] = 0
    return document


# An unloaded model answers 503, as does a rollback where no registry is named; that is right, and
# would hide what is not.
schema = schemathesis.openapi.from_dict(_document()).exclude(path_regex="/(unload|rollback)$")
fitting = schemathesis.openapi.from_dict(_fitting())
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def asked(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway of its own: loads are among the requests."""
    with serving(gateway_settings(repository, "echo"), tmp_path_factory.mktemp("run")) as gateway:
        yield gateway


@schema.parametrize()
@bounded
def test_no_request_breaks_the_gateway(case: schemathesis.Case, asked: Serving) -> None:
    """Never a 5xx, and each answer has a status, a type and a form that the document names."""
    case.call_and_validate(base_url=asked.url, checks=CHECKS, timeout=10)


@fitting.parametrize()
@bounded
def test_no_request_that_fits_breaks_the_gateway(case: schemathesis.Case, asked: Serving) -> None:
    """The same where most requests reach the engine."""
    case.call_and_validate(base_url=asked.url, checks=CHECKS, timeout=10)
