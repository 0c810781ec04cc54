"""Deliveries of MLflow's webhook: what is signed, new and of now rings; nothing else does."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from service.errors import ForbiddenError, LupineError, ShedError, UnauthenticatedError
from service.registry import webhook
from service.registry.bell import Bell
from service.registry.webhook import Webhook, sign

SHARED = "shared"
BODY = b'{"entity": "model_version_alias"}'


@dataclass
class Clock:
    """A time that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def taking(folder: Path, clock: Clock, secret: str = SHARED) -> Webhook:
    """A worker's webhook; all of a folder's share what they have seen."""
    return Webhook(secret, Bell(folder / "sync"), folder / "seen", clock, clock)


def signed(delivery: str, at: float, secret: str = SHARED, body: bytes = BODY) -> dict[str, str]:
    """The headers of a delivery."""
    timestamp = str(int(at))
    return {
        webhook.DELIVERY: delivery,
        webhook.TIMESTAMP: timestamp,
        webhook.SIGNATURE: sign(secret, delivery, timestamp, body),
    }


def test_the_signature_is_mlflows_own() -> None:
    """By its own code."""
    assert sign(SHARED, "id", "17", BODY) == _generate_hmac_signature(
        SHARED, "id", "17", BODY.decode()
    )


def test_a_delivery_rings_once(tmp_path: Path) -> None:
    """Whoever listens hears it at once, and no second time."""
    clock, bell, ended = Clock(), Bell(tmp_path / "sync"), threading.Event()
    assert not bell.wait(0, ended)
    taking(tmp_path, clock).receive(signed("a", clock.now), BODY)
    assert bell.wait(0, ended)
    assert not bell.wait(0, ended)


def test_what_came_before_is_refused_by_every_worker(tmp_path: Path) -> None:
    """However often, until it is too old to be taken anyway."""
    clock = Clock()
    first, second = taking(tmp_path, clock), taking(tmp_path, clock)
    headers = signed("a", clock.now)
    first.receive(headers, BODY)
    for worker in (first, second):
        with pytest.raises(ForbiddenError, match="'a' came before"):
            worker.receive(headers, BODY)
    clock.now += 301
    with pytest.raises(UnauthenticatedError, match="not within 300 s of now"):
        second.receive(headers, BODY)


@pytest.mark.parametrize(
    ("change", "body", "refusal"),
    [
        ({webhook.SIGNATURE: "v1,AAAA"}, BODY, UnauthenticatedError),
        ({webhook.SIGNATURE: ""}, BODY, UnauthenticatedError),
        ({webhook.SIGNATURE: "v1,\xfc"}, BODY, UnauthenticatedError),
        ({webhook.DELIVERY: "b"}, BODY, UnauthenticatedError),
        ({webhook.TIMESTAMP: "1"}, BODY, UnauthenticatedError),
        ({}, BODY + b" ", UnauthenticatedError),
        (signed("a", 1_800_000_000, "another"), BODY, UnauthenticatedError),
        (signed("a", 1_800_000_000 - 302), BODY, UnauthenticatedError),
        (signed("a", 1_800_000_000 + 302), BODY, UnauthenticatedError),
    ],
)
def test_what_is_not_signed_so_does_not_ring(
    tmp_path: Path, change: dict[str, str], body: bytes, refusal: type[LupineError]
) -> None:
    """Another body, name, time or secret than what was signed, or a time that is not now."""
    clock, bell = Clock(), Bell(tmp_path / "sync")
    with pytest.raises(refusal):
        taking(tmp_path, clock).receive(signed("a", clock.now) | change, body)
    assert not bell.wait(0, threading.Event())


def test_without_a_secret_none_is_taken(tmp_path: Path) -> None:
    """Even one that is signed with the empty secret; the refusal says what to set."""
    clock = Clock()
    with pytest.raises(ForbiddenError, match="LUPINE_REGISTRY__WEBHOOK_SECRET"):
        taking(tmp_path, clock, secret="").receive(signed("a", clock.now, secret=""), BODY)


def test_a_flood_is_shed_and_the_bucket_fills_again(tmp_path: Path) -> None:
    """Before anything is computed; MLflow tries again what was answered 429."""
    clock = Clock()
    taken = taking(tmp_path, clock)
    for number in range(50):
        taken.receive(signed(str(number), clock.now), BODY)
    with pytest.raises(ShedError, match="deliveries a second"):
        taken.receive(signed("one more", clock.now), BODY)
    clock.now += 1
    taken.receive(signed("later", clock.now), BODY)


def test_what_is_too_old_to_come_again_is_forgotten(tmp_path: Path) -> None:
    """The folder does not grow for ever."""
    clock = Clock()
    taken = taking(tmp_path, clock)
    for number in range(20):
        taken.receive(signed(str(number), clock.now), BODY)
    clock.now += 10**9  # files have the host's time: all of them are old then
    taken.receive(signed("new", clock.now), BODY)
    assert len(list((tmp_path / "seen").iterdir())) == 1
