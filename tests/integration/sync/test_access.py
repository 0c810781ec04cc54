"""Who may read the registry, and which one it is: a real MLflow with TLS and logins."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.harness import adding
from benchmarks.harness.registered import Registered
from benchmarks.harness.registry import registry
from service.registry.mlflow import MlflowRegistry, RegistryError

Recorded = Callable[[str, object], None]
ADMIN = ("admin", "not-as-delivered")


@dataclass
class Guarded:
    """A registry, and the certificate that it shows."""

    url: str
    certificate: Path

    def environment(self, **more: str) -> dict[str, str]:
        """MLflow's variables for someone who trusts the certificate."""
        return {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.certificate)} | more


def certify(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate of its own for this host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a registry")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private, public = folder / "key.pem", folder / "certificate.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return private, public


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """MLflow with its basic-auth plugin behind TLS, and one model in it."""
    folder = tmp_path_factory.mktemp("guarded")
    key, certificate = certify(folder)
    accounts = folder / "auth.ini"
    accounts.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
    )
    with registry(
        folder,
        "--app-name",
        "basic-auth",
        "--uvicorn-opts",
        f"--ssl-keyfile {key} --ssl-certfile {certificate}",
        environment={
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
        },
        certificate=certificate,
    ) as url:
        registered = Registered(url, auth=ADMIN, certificate=certificate)
        registered.model("plus")
        version = registered.version("plus", {"model.onnx": adding.model(1.0)})
        registered.alias("plus", "champion", version)
        registered.close()
        yield Guarded(url, certificate)


def test_who_logs_in_and_trusts_the_certificate_reads_all(guarded: Guarded) -> None:
    """Models, versions, and the artifacts behind the proxy."""
    user = guarded.environment(MLFLOW_TRACKING_USERNAME=ADMIN[0], MLFLOW_TRACKING_PASSWORD=ADMIN[1])
    found = MlflowRegistry(guarded.url, user)
    (model,) = found.models()
    assert (model.name, model.aliases) == ("plus", {"champion": "1"})
    assert found.version("plus", "1").ready
    (file,) = found.files("plus", "1")
    with found.open(file, 0) as (start, pieces):
        assert (start, b"".join(pieces)) == (0, adding.model(1.0))
    found.close()


@pytest.mark.parametrize("password", ["", "wrong"])
def test_who_does_not_log_in_is_told_how(
    guarded: Guarded, password: str, record_property: Recorded
) -> None:
    """Without a login, or with a wrong one; the password is not in what is said."""
    login = {"MLFLOW_TRACKING_USERNAME": ADMIN[0], "MLFLOW_TRACKING_PASSWORD": password}
    found = MlflowRegistry(guarded.url, guarded.environment(**login if password else {}))
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_USERNAME and _PASSWORD") as refused:
        found.models()
    assert "wrong" not in str(refused.value)
    record_property("told", str(refused.value))
    found.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    guarded: Guarded, record_property: Recorded
) -> None:
    """Unless MLflow's own variable says that it need not be looked at."""
    stranger = MlflowRegistry(guarded.url, {})
    with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED") as refused:
        stranger.models()
    record_property("told", str(refused.value))
    stranger.close()
    careless = MlflowRegistry(guarded.url, {"MLFLOW_TRACKING_INSECURE_TLS": "true"})
    with pytest.raises(RegistryError, match=r"refuses .*401"):
        careless.models()
    careless.close()


def test_a_token_is_sent_as_a_bearer_and_goes_before_a_login() -> None:
    """MLflow's own server has none: the ones in front of it do."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={})

    both = {"MLFLOW_TRACKING_TOKEN": "a-token", "MLFLOW_TRACKING_USERNAME": "u"}
    found = MlflowRegistry("http://127.0.0.1:1", both, httpx.MockTransport(answer))
    assert found.models() == []
    assert seen == ["Bearer a-token"]
    found.close()
