"""One lab for all tests: it takes 20 s to come up. Each test starts from a healthy cluster.

A missing program is a failure, never a skip.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.event import Observer
from tests.lab.lab import Lab
from tests.lab.network import READ_VIP, VIP
from tests.lab.traffic import Reader


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exabgp", default="5.0.15", help="the version on the lab's members"
    )


@pytest.fixture(scope="session")
def the_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab, in whatever state the last test left it."""
    with Lab(exabgp=request.config.getoption("--exabgp")) as lab:
        yield lab


@pytest.fixture
def lab(the_lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab with three members, the route at the leader and nowhere else."""
    the_lab.repair()
    leader = the_lab.leader()
    the_lab.wait_for(
        lambda: [path.member for path in the_lab.bird_paths()] == [leader],
        30,
        "lone path",
    )
    failed = request.session.testsfailed
    yield the_lab
    if request.session.testsfailed > failed:
        print(the_lab.logs())


@pytest.fixture
def watch(lab: Lab) -> Iterator[Observer]:
    """A client that writes through the VIP all the time; watches at the router and the members."""
    with Observer(lab) as observer:
        yield observer


@pytest.fixture
def reconciled(lab: Lab) -> Iterator[None]:
    """Reconcilers on every member, readers at both replicas."""
    lab.reconcile(True)
    try:
        lab.wait_for(
            lambda: lab.next_hops(READ_VIP) == lab.replicas(),
            30,
            "readers at the replicas",
        )
        yield
    finally:
        lab.reconcile(False)


@pytest.fixture
def writable(lab: Lab, reconciled: None) -> Iterator[None]:
    """At no time does the read-write VIP answer from a replica: a reader asks it all the while."""
    with Reader(lab, VIP) as reader:
        yield
    assert reader.by_replica() == []
