from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from service import cli, errors, gateway
from service.errors import LupineError
from service.frontends import status
from service.frontends.http_call import MethodNotAllowedError


def failures(root: type[LupineError] = LupineError) -> Iterator[type[LupineError]]:
    """Every failure that this process could raise: the modules above import all the rooms."""
    assert cli
    assert gateway
    for kind in root.__subclasses__():
        yield kind
        yield from failures(kind)


def test_the_table_is_total() -> None:
    """Every failure that a server may raise has a status of its own wire."""
    of_the_server = {
        kind for kind in failures() if not kind.__module__.startswith(("service.cli", "test"))
    }
    assert set(status.HTTP) == of_the_server - {MethodNotAllowedError}
    assert set(status.GRPC) == set(status.HTTP)


def test_every_failure_of_the_tree_is_in_the_one_file() -> None:
    """But for the one that only HTTP knows, and those that never leave the command line."""
    elsewhere = {
        kind
        for kind in failures()
        if kind.__module__ != errors.__name__
        and not kind.__module__.startswith(("service.cli", "test"))
    }
    assert elsewhere == {MethodNotAllowedError}


# Section 2 of the design: what the outside sees.
CONTRACT = {
    errors.InvalidRequestError: (400, "INVALID_ARGUMENT"),
    errors.UnauthenticatedError: (401, "UNAUTHENTICATED"),
    errors.ForbiddenError: (403, "PERMISSION_DENIED"),
    errors.NotFoundError: (404, "NOT_FOUND"),
    errors.TooLargeError: (413, "RESOURCE_EXHAUSTED"),
    errors.ShedError: (429, "RESOURCE_EXHAUSTED"),
    errors.EngineError: (500, "INTERNAL"),
    errors.UnavailableError: (503, "UNAVAILABLE"),
    errors.DeadlineError: (504, "DEADLINE_EXCEEDED"),
}


@pytest.mark.parametrize(("kind", "codes"), CONTRACT.items())
def test_a_failure_has_the_statuses_of_the_contract(
    kind: type[LupineError], codes: tuple[int, str]
) -> None:
    """As clients of each wire rely on them."""
    assert (status.HTTP[kind], status.GRPC[kind].name) == codes


def test_every_status_is_an_error() -> None:
    """And one that HTTP knows."""
    assert all(HTTPStatus(code).value >= 400 for code in status.HTTP.values())


def test_a_retry_is_told_in_whole_seconds_and_never_0() -> None:
    """A client that retries at once helps nobody."""
    assert status.retry_after(errors.UnavailableError("away", retry_after=0.01)) == {
        "retry-after": "1"
    }
    assert status.retry_after(errors.UnavailableError("away", retry_after=4.2)) == {
        "retry-after": "5"
    }
    assert status.retry_after(errors.NotFoundError("nobody")) == {}


def test_a_retry_over_grpc_is_told_in_milliseconds() -> None:
    """In the trailer that gRPC's own retries read; what is futile has none."""
    away = errors.UnavailableError("away", retry_after=0.2501)
    assert status.pushback(away) == (("grpc-retry-pushback-ms", "251"),)
    assert status.pushback(errors.NotFoundError("nobody")) == ()
