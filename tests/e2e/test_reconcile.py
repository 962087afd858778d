"""What no callback tells: each case with the reconciler on every member, asserted at the router and at a client."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from tests.lab.event import Observer
from tests.lab.faults import children
from tests.lab.lab import Lab
from tests.lab.network import VIP
from tests.lab.services import PIPE
from tests.lab.surroundings import (
    DAMAGE,
    RESTORE,
    faked_clock,
    in_failsafe,
    set_clock,
    wait_failsafe,
)

FIGURES: list[tuple[str, float, str]] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was measured: seconds until the router's table was right."""
    yield
    print("\n\ncase                                          until right   meaning")
    for case, seconds, meaning in FIGURES:
        print(f"{case:44}  {seconds:8.2f} s   {meaning}")


@pytest.fixture
def lab(lab: Lab) -> Iterator[Lab]:
    """The healthy lab, with reconcilers."""
    lab.reconcile(True)
    yield lab
    lab.reconcile(False)


def measure(
    lab: Lab, case: str, right: Callable[[], object], meaning: str, since: float
) -> float:
    """Wait until the router is right; seconds since the fault."""
    lab.wait_for(right, 60, f"{case}: {meaning}")
    seconds = time.time() - since
    FIGURES.append((case, seconds, meaning))
    return seconds


def writes_missing(lab: Lab, watch: Observer) -> list[int]:
    """The acknowledged writes that the final leader does not have."""
    acknowledged = {attempt.number for attempt in watch.writer.acknowledged()}
    rows = lab.sql("SELECT DISTINCT attempt FROM writes") or ""
    return sorted(acknowledged - {int(row) for row in rows.split() if row.isdigit()})


@pytest.fixture
def empty(lab: Lab) -> None:
    """No writes of earlier tests, whose numbers begin at 1 too."""
    lab.sql("TRUNCATE writes")


def paths(lab: Lab) -> list[str]:
    return sorted(path.member for path in lab.bird_paths())


@pytest.fixture
def synchronous(lab: Lab) -> Iterator[None]:
    """Synchronous mode, with a standby that acknowledges."""
    lab.patronictl("edit-config", "main", "--force", "-s", "synchronous_mode=true")
    lab.wait_for(
        lambda: any(member.role == "sync_standby" for member in lab.cluster()),
        30,
        "synchronous standby",
    )
    yield
    lab.patronictl("edit-config", "main", "--force", "-s", "synchronous_mode=null")


def test_hung_patroni_loses_its_route_before_its_lease(
    lab: Lab, empty: None, synchronous: None, watch: Observer
) -> None:
    """SIGSTOP: the old leader's PostgreSQL could take writes until the new leader's route arrives.

    In synchronous mode every acknowledged write is on the final leader.
    """
    old = lab.leader() or ""
    since = time.time()
    lab.patroni[old].signal(signal.SIGSTOP)
    try:
        new = _handed_over(lab, "Patroni on the leader hangs", old, since)
    finally:
        lab.patroni[old].signal(signal.SIGCONT)
    changes = [change.member for change in watch.routes.since(since)]
    assert changes == [None, new]
    lab.wait_healthy(90)
    watch.writer.wait_for_write(new, since)
    assert writes_missing(lab, watch) == []
    assert paths(lab) == [new]


def _handed_over(lab: Lab, case: str, old: str, since: float) -> str:
    """Wait until the route is withdrawn and then at another leader, whose name is returned."""
    measure(lab, case, lambda: lab.route() is None, "withdrawn", since)
    new = lab.wait_for(lambda: lab.another_leader(old), 60, "another leader")
    measure(lab, case, lambda: lab.route() == new, "at the new leader", since)
    return new


def test_killed_patroni_that_is_not_restarted(
    lab: Lab, empty: None, watch: Observer
) -> None:
    """No callback at all: PostgreSQL stays up and writable on the old leader."""
    old = lab.leader() or ""
    since = time.time()
    lab.patroni[old].kill()
    new = _handed_over(lab, "Patroni on the leader is killed", old, since)
    watch.writer.wait_for_write(new, since)
    assert paths(lab) == [new]
    assert writes_missing(lab, watch) == []


def test_the_leader_alone_loses_etcd(lab: Lab, watch: Observer) -> None:
    """It demotes itself; its callbacks are killed halfway."""
    old = lab.leader() or ""
    since = time.time()
    lab.network.partition(old, ["etcd"])
    new = lab.wait_for(lambda: lab.another_leader(old), 60, "another leader")
    measure(
        lab,
        "the leader loses etcd",
        lambda: paths(lab) == [new],
        "at the new leader",
        since,
    )
    lab.network.heal(old, ["etcd"])


def test_all_lose_etcd(lab: Lab, watch: Observer) -> None:
    """Nobody leads: nobody announces. With etcd back, the leader does."""
    since = time.time()
    lab.etcd.signal(signal.SIGSTOP)
    try:
        measure(lab, "etcd hangs", lambda: paths(lab) == [], "nobody announces", since)
    finally:
        lab.etcd.signal(signal.SIGCONT)
    since = time.time()
    measure(
        lab,
        "etcd is back",
        lambda: lab.leader() and paths(lab) == [lab.leader()],
        "at the leader",
        since,
    )


def test_failsafe_mode_keeps_the_leader(lab: Lab, watch: Observer) -> None:
    """Nobody reaches etcd, all members reach each other: the leader stays, and so does its route."""
    lab.wait_healthy(90)
    lab.patronictl("edit-config", "main", "--force", "-s", "failsafe_mode=true")
    wait_failsafe(lab)
    leader = lab.leader() or ""
    since = time.time()
    lab.etcd.signal(signal.SIGSTOP)
    try:
        lab.wait_for(lambda: in_failsafe(lab, leader), 60, "failsafe mode in use")
        active = time.time()
        lab.wait_for(lambda: time.time() > active + 5, 10, "some passes")
        assert lab.route() == leader
        watch.writer.wait_for_write(leader, active)
    finally:
        lab.etcd.signal(signal.SIGCONT)
    lab.wait_healthy(90)
    assert watch.routes.since(since) == []
    FIGURES.append(("failsafe mode, etcd hangs for all", 0.0, "the route never moves"))
    lab.patronictl("edit-config", "main", "--force", "-s", "failsafe_mode=null")


def test_stopped_by_hand_in_pause(lab: Lab) -> None:
    """Patroni calls nothing when PostgreSQL is stopped and started during a pause."""
    leader = lab.leader() or ""
    lab.patronictl("pause", "main", "--wait")
    host = lab.hosts[leader]
    program = "/usr/lib/postgresql/15/bin/pg_ctl"
    data = "/var/lib/postgresql/main"
    try:
        since = time.time()
        host.run([program, "-D", data, "-m", "fast", "stop"], user="postgres")
        measure(
            lab, "pg_ctl stop in pause", lambda: paths(lab) == [], "withdrawn", since
        )
    finally:
        lab.patronictl("resume", "main", "--wait")
    lab.wait_healthy(90)
    assert paths(lab) == [lab.leader()]


def test_postmaster_killed_with_no_time_to_start_again(
    lab: Lab, watch: Observer
) -> None:
    """primary_start_timeout 0: the new leader's callback comes before the old leader's only one."""
    lab.patronictl("edit-config", "main", "--force", "-s", "primary_start_timeout=0")
    old = lab.leader() or ""
    since = time.time()
    lab.patroni[old].kill_postgres()
    try:
        new = lab.wait_for(lambda: lab.another_leader(old), 60, "another leader")
        measure(
            lab,
            "postmaster is killed",
            lambda: paths(lab) == [new],
            "at the new leader",
            since,
        )
        watch.writer.wait_for_write(new, since)
    finally:
        lab.patronictl(
            "edit-config", "main", "--force", "-s", "primary_start_timeout=15"
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_exabgp_restarts(lab: Lab, number: signal.Signals) -> None:
    """Five times: the route is back within a second of the pipe being read, in the median."""
    leader = lab.leader() or ""
    exabgp = lab.exabgp[leader]
    times = []
    for _ in range(5):
        exabgp.signal(number)
        lab.wait_for(lambda: not exabgp.running, 20, "the end of ExaBGP")
        lab.wait_for(lambda: paths(lab) == [], 20, "no path")
        exabgp.start()
        lab.wait_for(lambda: _answers(lab, leader), 20, "ExaBGP's answer", poll=0.01)
        answered = time.time()
        in_rib = lab.wait_for(
            lambda: _announced(lab, leader), 20, "Adj-RIB-Out", poll=0.01
        )
        assert in_rib
        times.append(time.time() - answered)
        lab.wait_for(lambda: paths(lab) == [leader], 30, "path")
    FIGURES.append(
        (
            f"ExaBGP {number.name}, restarted",
            statistics.median(times),
            "median of 5, from its answer",
        )
    )
    assert statistics.median(times) < 1.0


def _answers(lab: Lab, name: str) -> bool:
    """Whether somebody reads ExaBGP's pipe."""
    script = f"import os; os.open('{PIPE}.in', os.O_WRONLY | os.O_NONBLOCK)"
    return (
        lab.hosts[name].run(["/usr/bin/python3", "-c", script], check=False).returncode
        == 0
    )


def _announced(lab: Lab, name: str) -> bool:
    """Whether Adj-RIB-Out holds the route."""
    result = lab.hosts[name].run(
        ["/opt/pgcast/bin/pgcast", "show", "--json"], user="postgres", check=False
    )
    if result.returncode != 0:
        return False
    routes = json.loads(result.stdout)["routes"]
    return any(r["prefix"] == f"{VIP}/32" and r["announced"] for r in routes)


def test_exabgp_reloads(lab: Lab, watch: Observer) -> None:
    """SIGUSR1 keeps the routes: the router never misses one. Its helper is another one after it."""
    leader = lab.leader() or ""
    exabgp = lab.exabgp[leader]
    before = children(exabgp)
    since = time.time()
    exabgp.signal(signal.SIGUSR1)
    lab.wait_for(lambda: children(exabgp) not in ([], before), 20, "another helper")
    lab.wait_for(lambda: _answers(lab, leader) or None, 20, "pipe helper")
    FIGURES.append(("ExaBGP USR1", time.time() - since, "its pipe answers again"))
    assert _announced(lab, leader)
    assert paths(lab) == [leader]
    assert watch.routes.since(since) == []


def test_the_pipe_helper_is_killed(lab: Lab) -> None:
    """ExaBGP starts another, which is asked at once; what somebody withdrew meanwhile is back."""
    leader = lab.leader() or ""
    exabgp = lab.exabgp[leader]
    children = Path(f"/proc/{exabgp.pid}/task/{exabgp.pid}/children")
    (helper,) = children.read_text().split()
    since = time.time()
    os.kill(int(helper), signal.SIGKILL)
    lab.wait_for(lambda: _answers(lab, leader) or None, 20, "pipe helper")
    exabgp.command(f"withdraw route {VIP}/32")
    measure(
        lab,
        "ExaBGP's pipe helper is killed",
        lambda: _announced(lab, leader),
        "announced",
        since,
    )
    assert paths(lab) == [leader]


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_state_directory_is_damaged(lab: Lab, damage: str) -> None:
    """On the leader, with the reconciler started on it: what somebody withdrew is announced again."""
    leader = lab.leader() or ""
    host = lab.hosts[leader]
    lab.reconciler[leader].stop()
    host.run(["sh", "-euc", DAMAGE[damage]])
    lab.reconciler[leader].start()
    try:
        _repaired(lab, leader, f"state directory {damage}")
    finally:
        lab.reconciler[leader].stop()
        host.run(["sh", "-c", RESTORE])


def test_the_clock_is_set_back(lab: Lab) -> None:
    """By a day, in the reconciler's eyes, while Patroni hangs: the grace is over no later for it."""
    leader = lab.leader() or ""
    service = lab.reconciler[leader]
    service.stop()
    with faked_clock(service):
        service.start()
    try:
        _repaired(lab, leader, "clock as it is")
        since = time.time()
        lab.patroni[leader].signal(signal.SIGSTOP)
        set_clock(lab.hosts[leader], "-1d")
        took = measure(
            lab,
            "Patroni hangs, clock set back",
            lambda: lab.route() is None,
            "withdrawn",
            since,
        )
        assert took < 15
    finally:
        lab.patroni[leader].signal(signal.SIGCONT)
        service.stop()
    lab.reconcile(True)
    lab.wait_healthy(90)


def _repaired(lab: Lab, leader: str, case: str) -> None:
    """Somebody withdraws the route; the reconciler announces it again."""
    lab.wait_for(lambda: paths(lab) == [leader], 20, "path")
    lab.exabgp[leader].command(f"withdraw route {VIP}/32")
    lab.wait_for(lambda: lab.bird_paths() == [], 10, "withdrawal", poll=0.01)
    since = time.time()
    measure(lab, case, lambda: paths(lab) == [leader], "announced again", since)


def test_the_reconciler_is_killed_and_patroni_switches(
    lab: Lab, watch: Observer
) -> None:
    """Callbacks alone carry a switchover, and a restarted reconciler finds nothing to do."""
    for service in lab.reconciler.values():
        service.kill()
    event = watch.measure("switchover", lab.switchover)
    lab.reconcile(True)
    lab.wait_healthy()
    assert event.stale == []
    assert paths(lab) == [event.new]
