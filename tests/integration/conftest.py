"""One host made for the tests: its own network and /run, with BIRD, the three versions of ExaBGP and a fake Patroni.

Needs root. The namespaces belong to the test process and end with it; nothing outside them is touched.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import VERSIONS, Exabgp
from tests.integration.patroni import FakePatroni
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
SETUP = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add outside type veth peer name faraway
ip link set outside up
ip link set faraway up
ip address add 10.8.0.1/24 dev outside
ip address add 10.8.0.2/24 dev outside
ip route add default dev outside
ip -6 route add default dev outside
for address in 10.9.0.1/32 10.9.0.2/32 10.9.0.3/32 2001:db8:9::1/128 2001:db8:9::2/128 \\
    192.0.2.10/32 192.0.2.11/32 2001:db8::10/128; do
    ip address add $address dev lo
done
"""


def enter_namespaces() -> None:
    """A network and a mount namespace for this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        why = "these tests make namespaces: run them as root"
        raise PermissionError(ctypes.get_errno(), why)
    subprocess.run(["sh", "-euc", SETUP], check=True)


@pytest.fixture(scope="session", autouse=True)
def namespaces() -> None:
    """Every test runs on a host of its own."""
    enter_namespaces()
    # A shell's background job ignores Ctrl-C, and so would what the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def bird(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bird]:
    """A router with a BGP session to ExaBGP."""
    with Bird(tmp_path_factory.mktemp("bird")) as router:
        yield router


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test meets each version of ExaBGP, but for those that are about something else."""
    if "_running" in metafunc.fixturenames:
        one = metafunc.definition.get_closest_marker("any_version")
        versions = VERSIONS[-1:] if one else VERSIONS
        metafunc.parametrize("_running", versions, indirect=True, scope="module")


@pytest.fixture(scope="module")
def _running(
    request: pytest.FixtureRequest, bird: Bird, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exabgp]:
    with Exabgp(request.param, tmp_path_factory.mktemp("exabgp")) as speaker:
        bird.wait_established()
        yield speaker


@pytest.fixture
def exabgp(_running: Exabgp, bird: Bird) -> Iterator[Exabgp]:
    """A running ExaBGP with an established session and an empty Adj-RIB-Out, of each version in turn."""
    yield _running

    def forgotten() -> bool:
        _running.forget()
        return not bird.table()

    until(forgotten, "an empty table")


@pytest.fixture
def patroni() -> Iterator[FakePatroni]:
    """Patroni's REST API over real HTTP, saying what a test tells it to."""
    with FakePatroni() as fake:
        yield fake


@pytest.fixture
def pgcast(tmp_path: Path, patroni: FakePatroni) -> Pgcast:
    """pgcast's two scripts, configured for ExaBGP's pipe, the fake Patroni and a state directory of their own."""
    os.environ.pop("PGCAST_CONFIG", None)
    return Pgcast(tmp_path, patroni.url)
