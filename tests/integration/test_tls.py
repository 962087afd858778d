"""Patroni's REST API over TLS, with a CA and a client certificate of the test's own."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import FakePatroni
from tests.integration.pgcast import Pgcast

pytestmark = pytest.mark.any_version

MAKE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=ca -keyout ca.key -out ca.pem
for name in server client; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
    echo subjectAltName=IP:127.0.0.1 | openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key \
        -CAcreateserial -days 2 -extfile /dev/stdin -out $name.pem
done
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, and server and client as .pem and .key."""
    directory = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", "-euc", MAKE], cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture
def patroni(certificates: Path) -> Iterator[FakePatroni]:
    """`restapi` with `verify_client: required`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with FakePatroni(context) as fake:
        yield fake


@pytest.mark.parametrize(
    ("given", "announced"),
    [
        ({"cafile": "ca.pem", "certfile": "client.pem", "keyfile": "client.key"}, True),
        ({"certfile": "client.pem", "keyfile": "client.key"}, False),  # unknown CA
        ({"cafile": "ca.pem"}, False),  # no client certificate
        ({"cafile": "missing.pem"}, False),
        ({"cafile": "server.key"}, False),
    ],
)
def test_tls(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    certificates: Path,
    given: dict[str, str],
    announced: bool,
) -> None:
    """Only an answer that TLS vouches for is one; every failure is "unknown", in one line."""
    endpoint = pgcast.document["clusters"]["main"]["patroni"]
    endpoint.update({key: str(certificates / name) for key, name in given.items()})
    endpoint["timeout"] = 5
    pgcast.document["callback"]["deadline"] = 5 if announced else 0.5
    code, said = pgcast.callback("on_start", "primary", "main")
    assert code == (0 if announced else 75), said
    if announced:
        bird.wait_table({"192.0.2.10/32": 99_993})
    else:
        assert "cannot be asked: " in said
        assert bird.table() == {}


def test_a_proxy_in_the_environment_is_not_used(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Patroni inherits its environment from whatever started it."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    pgcast.document["clusters"]["main"]["patroni"].update(
        cafile=str(certificates / "ca.pem"),
        certfile=str(certificates / "client.pem"),
        keyfile=str(certificates / "client.key"),
        timeout=5,
    )
    pgcast.announce()
    bird.wait_table({"192.0.2.10/32": 99_993})
