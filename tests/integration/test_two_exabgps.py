"""Two ExaBGPs on one host, with a pipe, a session and a configuration each, and one state directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import CONFIG, VERSIONS, Exabgp
from tests.integration.patroni import PRIMARY, REPLICA, FakePatroni
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

pytestmark = pytest.mark.any_version

FIRST, SECOND = "192.0.2.10/32", "192.0.2.11/32"


@pytest.fixture(scope="module")
def _second(bird: Bird, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exabgp]:
    config = CONFIG.replace("10.9.0.1", "10.9.0.3")
    directory = tmp_path_factory.mktemp("second")
    with Exabgp(VERSIONS[-1], directory, config, pipe="second") as speaker:
        bird.wait_established("second")
        yield speaker


@pytest.fixture
def second(exabgp: Exabgp, _second: Exabgp) -> Iterator[Exabgp]:
    """Another ExaBGP beside the first."""
    yield _second
    _second.forget()


@pytest.fixture
def billing() -> Iterator[FakePatroni]:
    """The Patroni of another cluster, on a port of its own."""
    with FakePatroni() as fake:
        yield fake


@pytest.fixture
def other(
    pgcast: Pgcast, second: Exabgp, billing: FakePatroni, tmp_path: Path
) -> Pgcast:
    """The configuration for the second ExaBGP, with a route of its own."""
    directory = tmp_path / "other"
    directory.mkdir()
    found = Pgcast(directory, billing.url)
    found.document["exabgp"]["pipe"] = str(second.pipe)
    found.document["state_dir"] = str(pgcast.state)
    found.routes[0]["prefix"] = SECOND
    return found


@pytest.fixture
def reconcilers(pgcast: Pgcast, other: Pgcast, bird: Bird) -> Iterator[None]:
    """One for each, with passes so far apart that none is made by itself."""
    processes = [
        one.start("cli", "reconcile", "--interval", "600") for one in (pgcast, other)
    ]
    bird.wait_table({FIRST: 99_993, SECOND: 99_993})
    yield
    for process in processes:
        process.terminate()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0, err


def test_each_moves_its_own_routes(
    bird: Bird,
    patroni: FakePatroni,
    billing: FakePatroni,
    pgcast: Pgcast,
    other: Pgcast,
    second: Exabgp,
) -> None:
    """Neither a callback nor a pass of the one touches what the other announced."""
    pgcast.announce()
    bird.wait_table({FIRST: 99_993})
    other.announce()
    bird.wait_table({FIRST: 99_993, SECOND: 99_993})
    assert pgcast.run("show")[1].count("192.0.2.1") == 1
    assert pgcast.withdraw()[0] == 0
    bird.wait_table({SECOND: 99_993})
    billing.will_say([REPLICA])
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table({FIRST: 99_993, SECOND: 99_993})
    billing.will_say([PRIMARY])
    patroni.will_say([REPLICA])
    assert other.run("reconcile")[0] == 0
    bird.wait_table({FIRST: 99_993, SECOND: 99_993})


def test_unread_marks_are_those_of_one_pipe(
    bird: Bird, pgcast: Pgcast, other: Pgcast, second: Exabgp
) -> None:
    """What a killed pgcast left in the one pipe is not waited for at the other."""
    (pgcast.state / "unread-marks").write_text(f"{12:<16}")
    other.announce()
    bird.wait_table({SECOND: 99_993})
    assert (pgcast.state / "unread-marks").read_text().strip() == "12"
    name = f"unread-marks-{str(second.pipe).replace('/', '%2F')}"
    assert (pgcast.state / name).read_text().strip() == "0"


def test_a_maintenance_is_the_host_s(
    reconcilers: None, bird: Bird, pgcast: Pgcast, other: Pgcast
) -> None:
    """The order is given with one configuration; the other's reconciler sees it at once."""
    assert pgcast.run("maintenance", "on")[0] == 0
    until(lambda: bird.table() == {}, "both routes withdrawn", 5.0)
    assert other.run("maintenance", "off")[0] == 0
    until(
        lambda: set(bird.table()) == {FIRST, SECOND}, "both routes announced again", 5.0
    )


def test_two_reconcilers(reconcilers: None, pgcast: Pgcast, other: Pgcast) -> None:
    """Each is the only one of its ExaBGP, and is told by its own status."""
    for one in (pgcast, other):
        code, out, err = one.run("reconcile")
        assert (code, out) == (75, "")
        assert "another reconciler is running" in err
    processes = {
        line
        for one in (pgcast, other)
        for line in one.run("status")[1].splitlines()
        if "reconciler   process" in line
    }
    assert len(processes) == 2, processes
