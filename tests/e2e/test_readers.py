"""The read-only VIP while replicas come and go: asserted at the router's table and at clients."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.lab.files import edited
from tests.lab.lab import Lab
from tests.lab.network import READ_VIP
from tests.lab.services import PATRONI_YML
from tests.lab.traffic import Attempt, Reader, answers, readers
from tests.lab.watch import RouteWatch

PGCAST = "/opt/pgcast/bin/pgcast"
INTERVAL = 2.0  # of the reconciler, as in examples/pgcast-reconcile.service
GRACE = 5.0  # reconcile.unreachable_grace
TURN = 0.02  # seconds that a turn of the route takes
TAIL = 0.5  # seconds for which readers are looked at after the router's table is right


class Figure(NamedTuple):
    """What an event meant for readers; times in seconds since it."""

    event: str
    right: float
    """When the router's table was right."""
    reset: int
    """Attempts that failed because they were under way when the route turned."""
    failed: int
    """Attempts that failed for another reason."""
    last: float
    """When the last of these began; 0 if there was none."""


pytestmark = pytest.mark.usefixtures("writable")
FIGURES: list[Figure] = []
SHARES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was measured."""
    yield
    print("\n\n300 readers                                        answered by")
    print("\n".join(SHARES))
    row = "{:36}  {:>12}  {:>5}  {:>6}  {:>8}"
    print("\n" + row.format("event", "router right", "reset", "failed", "the last"))
    for event, right, reset, failed, last in FIGURES:
        when = f"{last:.2f} s" if failed else "-"
        print(row.format(event, f"{right:.2f} s", reset, failed, when))


class Watched:
    """A client that reads through the read-only VIP all the time, and each turn of the route."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.client = Reader(lab)
        self.routes = RouteWatch(lab, READ_VIP)

    def measure(self, event: str, hops: list[str], since: float) -> Figure:
        """Wait until the router's table is right; what it meant for readers meanwhile."""
        lab, must = self.lab, "+".join(sorted(hops))
        right = lab.wait_for(lambda: self.routes.arrival(must, since), 60, event, 0.02)
        lab.wait_for(lambda: time.time() > right + TAIL, 5, "readers")
        self.client.settle()
        turns = [change.time for change in self.routes.since(since)]
        failed = self.client.failed(since)
        besides = [a for a in failed if not _under_way(a, turns)]
        last = max((a.start - since for a in besides), default=0.0)
        resets = len(failed) - len(besides)
        figure = Figure(event, right - since, resets, len(besides), last)
        FIGURES.append(figure)
        return figure


def _under_way(attempt: Attempt, turns: list[float]) -> bool:
    return any(attempt.start - TURN < turn < attempt.end + TURN for turn in turns)


@pytest.fixture
def reader(lab: Lab) -> Iterator[Watched]:
    """Somebody who reads while a test does its worst."""
    watched = Watched(lab)
    with watched.routes, watched.client:
        yield watched


def share(lab: Lab, case: str) -> list[Attempt]:
    """300 readers, who answered each of them printed in the end."""
    attempts = readers(lab)
    SHARES.append(f"{case:49}  {answers(attempts)}")
    return attempts


def test_readers_lose_one_replica_then_the_other(lab: Lab, reader: Watched) -> None:
    """300 readers are spread over both replicas; all are served by the one that is left, and by
    the leader when none is."""
    leader = lab.leader() or ""
    one, other = lab.replicas()
    paths = {path.member: path.med for path in lab.bird_paths(READ_VIP)}
    assert paths == {one: 100, other: 100, leader: 100_000 - (lab.timeline() or 0)}
    found = answers(share(lab, f"replicas {one}, {other}; leader {leader}"))
    assert found.keys() == {one, other}
    assert all(0.35 <= count / 300 <= 0.65 for count in found.values()), found
    for gone, left in ((one, other), (other, leader)):
        since = time.time()
        lab.patroni[gone].signal(signal.SIGTERM)
        figure = reader.measure(f"Patroni stopped; {left} left", [left], since)
        assert figure.right <= INTERVAL
        assert figure.last <= INTERVAL
        assert answers(share(lab, f"Patroni on {gone} stopped")) == {left: 300}
        lab.patroni[gone].stop()
    since = time.time()
    for name in (one, other):
        lab.patroni[name].start()
    figure = reader.measure("both started again", [one, other], since)
    assert figure.failed == 0


def test_postgresql_of_a_replica_dies(lab: Lab, reader: Watched) -> None:
    """Readers are refused there until the next pass."""
    one, other = lab.replicas()
    since = time.time()
    lab.hosts[one].kill(signal.SIGKILL, r"/postgres -D ")
    figure = reader.measure("postmaster killed", [other], since)
    assert figure.last <= figure.right
    since = time.time()
    figure = reader.measure("started by Patroni", [one, other], since)
    assert figure.failed == 0


def test_patroni_and_postgresql_of_a_replica_die(lab: Lab, reader: Watched) -> None:
    """Its host and its ExaBGP live on: readers are refused there until the grace is over."""
    one, other = lab.replicas()
    since = time.time()
    lab.patroni[one].kill_all()
    figure = reader.measure("Patroni and PostgreSQL killed", [other], since)
    assert figure.last <= figure.right
    assert figure.right < GRACE + 2 * INTERVAL


def test_patroni_of_a_replica_hangs(lab: Lab, reader: Watched) -> None:
    """Its PostgreSQL serves on: nobody fails, and the route goes after the grace."""
    one, other = lab.replicas()
    since = time.time()
    lab.patroni[one].signal(signal.SIGSTOP)
    try:
        figure = reader.measure("Patroni hangs", [other], since)
    finally:
        lab.patroni[one].signal(signal.SIGCONT)
    assert figure.failed == 0
    assert figure.right > GRACE - INTERVAL
    since = time.time()
    figure = reader.measure("Patroni goes on", [one, other], since)
    assert figure.failed == 0


def test_a_replica_lags(lab: Lab, reader: Watched) -> None:
    """More than 16 MB behind, it serves no reader until it has caught up. (A pause of the replay
    would be ended by Patroni.)"""
    one, other = lab.replicas()
    replay = r"^postgres: main: startup "
    assert lab.hosts[one].kill(signal.SIGSTOP, replay) == 1
    since = time.time()
    try:
        write = (
            "SELECT count(pg_logical_emit_message(false, 'lag', repeat('-', 1000000)))"
        )
        lab.sql(f"{write} FROM generate_series(1, 20)")
        figure = reader.measure("20 MB behind", [other], since)
    finally:
        lab.hosts[one].kill(signal.SIGCONT, replay)
    assert figure.failed == 0
    since = time.time()
    figure = reader.measure("caught up", [one, other], since)
    assert figure.failed == 0


def test_noloadbalance(lab: Lab, reader: Watched) -> None:
    """Written into Patroni's file and reloaded: on_reload is a callback."""
    one, other = lab.replicas()
    tag = "\ntags:\n  noloadbalance: true\n\npostgresql:\n"
    try:
        with edited(lab.hosts[one], PATRONI_YML, "\npostgresql:\n", tag):
            since = time.time()
            lab.patroni[one].signal(signal.SIGHUP)
            figure = reader.measure("noloadbalance, reloaded", [other], since)
    finally:
        without = time.time()
        lab.patroni[one].signal(signal.SIGHUP)
    assert figure.failed == 0
    figure = reader.measure("without it, reloaded", [one, other], without)
    assert figure.failed == 0


def test_a_replica_is_promoted(lab: Lab, reader: Watched) -> None:
    """A switchover: readers stay with the replica that stays, and come to the old leader once it
    is one."""
    leader = lab.leader() or ""
    new, stays = lab.replicas()
    since = time.time()
    running = lab.switchover(to=new, wait=False)
    assert running is not None
    figure = reader.measure("switchover", [leader, stays], since)
    assert figure.last < 5
    assert running.wait(30) == 0
    assert lab.leader() == new


def test_a_replica_is_drained(lab: Lab, reader: Watched) -> None:
    """It announces on, with GRACEFUL_SHUTDOWN: the router prefers the other one."""
    one, other = lab.replicas()
    since = time.time()
    order = [PGCAST, "drain", "main", f"{READ_VIP}/32", "--for", "1h"]
    lab.hosts[one].run(order, user="postgres")
    try:
        figure = reader.measure("drained", [other], since)
        preferences = {p.member: p.local_pref for p in lab.bird_paths(READ_VIP)}
    finally:
        ended = time.time()
        lab.hosts[one].run([PGCAST, "auto", "main"], user="postgres")
    assert figure.failed == 0
    assert preferences[one] == 0
    assert preferences[other] == 100
    figure = reader.measure("drained no more", [one, other], ended)
    assert figure.failed == 0
