"""Patroni's REST API over TLS, with a CA and client certificates of the test's own."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import FakePatroni
from tests.integration.pgcast import Pgcast

pytestmark = pytest.mark.any_version

MAKE = """
for ca in ca other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=$ca -keyout $ca.key -out $ca.pem
done
make() { # NAME CA DAYS SUBJECT
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$1 -keyout $1.key -out $1.csr
    echo subjectAltName=$4 | openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key \
        -CAcreateserial -days $3 -extfile /dev/stdin -out $1.pem
}
make server ca 2 IP:127.0.0.1
make named ca 2 DNS:pg1.example.com
make expired ca -1 IP:127.0.0.1
make client ca 2 DNS:client
make stranger other 2 DNS:client
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two CAs, and servers and clients as .pem and .key."""
    directory = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", "-euc", MAKE], cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture
def names() -> list[str | None]:
    """The names by which the server was asked for, in TLS."""
    return []


@pytest.fixture
def patroni(
    request: pytest.FixtureRequest, certificates: Path, names: list[str | None]
) -> Iterator[FakePatroni]:
    """`restapi` with `verify_client: required` and the certificate that a test names."""
    name = getattr(request, "param", "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, asked, __: names.append(asked)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with FakePatroni(context) as fake:
        yield fake


CLIENT = {"certfile": "client.pem", "keyfile": "client.key"}
GOOD = {"cafile": "ca.pem", **CLIENT}
LAX = {"verify": False, **CLIENT}


@pytest.fixture
def ask(pgcast: Pgcast, certificates: Path) -> Callable[[dict[str, Any]], None]:
    """Sets how Patroni is asked, the files by their names."""

    def ask(given: dict[str, Any]) -> None:
        endpoint = pgcast.document["clusters"]["main"]["patroni"]
        for key, value in given.items():
            is_file = key in ("cafile", "certfile", "keyfile")
            endpoint[key] = str(certificates / value) if is_file else value
        endpoint["timeout"] = 5

    return ask


@pytest.mark.parametrize(
    ("patroni", "given", "why"),
    [
        ("server", GOOD, None),
        ("server", LAX, None),
        ("named", LAX, None),
        ("named", {**GOOD, "server_name": "pg1.example.com"}, None),
        ("expired", LAX, None),
        ("server", CLIENT, "certificate verify failed"),
        ("server", {**GOOD, "cafile": "other.pem"}, "certificate verify failed"),
        # The server hangs up, in words that depend on who is first.
        ("server", {"cafile": "ca.pem"}, ""),
        ("server", {"verify": False}, ""),
        (
            "server",
            {"cafile": "ca.pem", "certfile": "stranger.pem", "keyfile": "stranger.key"},
            "",
        ),
        ("server", {**GOOD, "cafile": "missing.pem"}, "missing.pem"),
        ("server", {**GOOD, "cafile": "server.key"}, ""),
        ("server", {**GOOD, "certfile": "missing.pem"}, "missing.pem"),
        ("server", {**GOOD, "server_name": "pg1.example.com"}, "pg1.example.com"),
        ("named", GOOD, "127.0.0.1"),
        ("named", {**GOOD, "server_name": "pg2.example.com"}, "pg2.example.com"),
        ("named", {**GOOD, "server_name": "example.com"}, "example.com"),
        ("expired", GOOD, "certificate has expired"),
    ],
    indirect=["patroni"],
)
def test_tls(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    ask: Callable[[dict[str, Any]], None],
    given: dict[str, Any],
    why: str | None,
) -> None:
    """Only an answer that TLS vouches for is one, unless it is not to; every failure is
    "unknown", in one line that tells why."""
    ask(given)
    pgcast.document["callback"]["deadline"] = 5 if why is None else 0.5
    code, said = pgcast.callback("on_start", "primary", "main")
    assert code == (0 if why is None else 75), said
    if why is None:
        assert "arning" not in said
        bird.wait_table({"192.0.2.10/32": 99_993})
    else:
        _, asked, reason = said.partition("cannot be asked: ")
        assert asked
        assert why in reason
        assert bird.table() == {}


@pytest.mark.parametrize("patroni", ["named"], indirect=True)
@pytest.mark.parametrize("given", [GOOD, LAX])
def test_the_server_is_asked_for_by_its_name(
    exabgp: Exabgp,
    pgcast: Pgcast,
    ask: Callable[[dict[str, Any]], None],
    names: list[str | None],
    given: dict[str, Any],
) -> None:
    """So that a proxy with many certificates takes the right one."""
    ask({**given, "server_name": "pg1.example.com"})
    pgcast.announce()
    assert set(names) == {"pg1.example.com"}


def test_who_one_is_goes_over_tls_too(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    patroni: FakePatroni,
    ask: Callable[[dict[str, Any]], None],
) -> None:
    """User, password and headers."""
    headers = {"X-Token": "hunter3"}
    ask({**GOOD, "username": "pgcast", "password": "hunter2", "headers": headers})
    pgcast.announce()
    bird.wait_table({"192.0.2.10/32": 99_993})
    assert patroni.headers[0]["Authorization"] == "Basic cGdjYXN0Omh1bnRlcjI="
    assert patroni.headers[0]["X-Token"] == "hunter3"


@pytest.mark.parametrize(
    ("patroni", "given", "expected"),
    [
        (
            "named",
            {**GOOD, "server_name": "pg1.example.com"},
            ["Patroni's certificate expires in 2 days"],
        ),
        ("expired", GOOD, ["certificate verify failed: certificate has expired"]),
        (
            "expired",
            LAX,
            ["has expired 1 days ago", "verify is false: whoever answers is taken for"],
        ),
    ],
    indirect=["patroni"],
)
def test_check(
    exabgp: Exabgp,
    pgcast: Pgcast,
    ask: Callable[[dict[str, Any]], None],
    given: dict[str, Any],
    expected: list[str],
) -> None:
    """A certificate that ends or has ended, and one that nobody looks at."""
    ask(given)
    document = json.loads(pgcast.run("check", "--json")[1])
    told = [
        one["text"]
        for one in document["findings"]
        if one["name"] == "patroni.tls"
        and one["severity"] != "OK"
        and "client.pem" not in one["text"]
    ]
    assert len(told) == len(expected)
    for text, phrase in zip(told, expected):
        assert phrase in text


def test_a_proxy_in_the_environment_is_not_used(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    ask: Callable[[dict[str, Any]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Patroni inherits its environment from whatever started it."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    ask(GOOD)
    pgcast.announce()
    bird.wait_table({"192.0.2.10/32": 99_993})
