"""A REST API behind something that wants to know who asks, or that listens on a Unix domain socket."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import PRIMARY, FakePatroni, hang, says
from tests.integration.pgcast import Pgcast

pytestmark = pytest.mark.any_version

ANNOUNCED = {"192.0.2.10/32": 99_993}
WORD = "hünter2"
BASIC = "Basic cGdjYXN0OmjDvG50ZXIy"
DENIED = says(401, {"error": "no authorization"})


def guarded(handler: BaseHTTPRequestHandler) -> None:
    """What a proxy in front of Patroni does."""
    known = handler.headers["Authorization"] == BASIC
    (PRIMARY if known else DENIED)(handler)


@pytest.fixture
def endpoint(pgcast: Pgcast) -> dict[str, Any]:
    """How Patroni is asked, to be changed by a test."""
    found: dict[str, Any] = pgcast.document["clusters"]["main"]["patroni"]
    return found


def test_a_password_in_the_configuration(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    patroni: FakePatroni,
    endpoint: dict[str, Any],
) -> None:
    """Patroni's word counts for who may hear it; to others it is not known."""
    patroni.will_say([guarded])
    code, said = pgcast.callback("on_start", "primary", "main")
    assert code == 75
    assert "HTTP 401" in said
    endpoint.update(username="pgcast", password=WORD)
    pgcast.announce()
    bird.wait_table(ANNOUNCED)


def test_a_password_in_a_file(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    patroni: FakePatroni,
    endpoint: dict[str, Any],
    tmp_path: Path,
) -> None:
    """It is read for each question, so that it can be changed under a running reconciler."""
    patroni.will_say([guarded])
    path = tmp_path / "password"
    endpoint.update(username="pgcast", password_file=str(path))
    code, said = pgcast.callback("on_start", "primary", "main")
    assert code == 75
    assert f"password_file {path} cannot be read: No such file or directory" in said
    assert patroni.paths == []
    path.write_text("another\n")
    reconciler = pgcast.start("cli", "reconcile", "--interval", "0.2")
    try:
        path.write_text(f"{WORD}\n")
        bird.wait_table(ANNOUNCED)
    finally:
        reconciler.terminate()
        reconciler.communicate(timeout=20)


def test_headers(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    patroni: FakePatroni,
    endpoint: dict[str, Any],
) -> None:
    """As they are configured, beside those that HTTP needs."""
    endpoint["headers"] = {"X-Token": "one two", "User-Agent": "pgcast"}
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    headers = patroni.headers[0]
    assert headers["X-Token"] == "one two"
    assert headers["User-Agent"] == "pgcast"
    assert headers["Host"] == patroni.url.rpartition("/")[2]
    assert headers["Authorization"] is None


def test_no_command_prints_a_secret(
    exabgp: Exabgp, pgcast: Pgcast, patroni: FakePatroni, endpoint: dict[str, Any]
) -> None:
    """Whether Patroni answers or not."""
    endpoint.update(username="pgcast", password="hunter2")
    endpoint["headers"] = {"X-Token": "hunter2"}
    commands = (
        ["check-config"],
        ["status", "--json", "--cluster"],
        ["check", "--all"],
        ["reconcile"],
        ["history", "--json"],
    )
    for _ in ("answers", "refuses"):
        for command in commands:
            _, out, err = pgcast.run(*command)
            assert "hunter2" not in out + err, command
        patroni.close()
    _, out, _ = pgcast.run("check-config")
    assert "password: '***'" in out
    assert "X-Token: '***'" in out


def test_another_member_is_told_no_password(
    exabgp: Exabgp, pgcast: Pgcast, patroni: FakePatroni, endpoint: dict[str, Any]
) -> None:
    """A check asks it what time it is, wherever Patroni says that it is."""
    with FakePatroni() as stranger:
        members = [
            {"name": "pg1", "port": 5432},
            {"name": "pg2", "api_url": f"{stranger.url}/patroni"},
        ]
        patroni.will_say([says(200, {"members": members})], "/cluster")
        endpoint.update(username="pgcast", password="hunter2")
        endpoint["headers"] = {"X-Token": "hunter2"}
        pgcast.run("check")
        assert set(stranger.paths) == {"/patroni"}
        for headers in stranger.headers:
            assert not {"Authorization", "X-Token"} & set(headers.keys())
        assert patroni.headers[0]["X-Token"] == "hunter2"


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[FakePatroni]:
    """Patroni behind a proxy on a Unix domain socket."""
    with FakePatroni(socket=tmp_path / "patroni.sock") as fake:
        yield fake


def test_a_unix_socket(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    patroni: FakePatroni,
    behind: FakePatroni,
    endpoint: dict[str, Any],
    tmp_path: Path,
) -> None:
    """The URL's host and port are not connected to: they are what the proxy is asked for."""
    path = tmp_path / "patroni.sock"
    endpoint.update(url="http://pg1.example.com:8008", unix_socket=str(path))
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    assert set(behind.paths) == {"/primary"}
    assert behind.headers[0]["Host"] == "pg1.example.com:8008"
    assert patroni.paths == []
    behind.close()
    path.unlink()
    code, _, err = pgcast.run("reconcile")
    assert code == 69
    assert "cannot be asked: No such file or directory" in err


def test_a_unix_socket_that_hangs(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    behind: FakePatroni,
    endpoint: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Is bounded in time, as everything is."""
    behind.will_say([hang])
    endpoint["unix_socket"] = str(tmp_path / "patroni.sock")
    code, said = pgcast.callback("on_start", "primary", "main")
    assert code == 75
    assert "did not answer within 0.4 s" in said
    assert bird.table() == {}
