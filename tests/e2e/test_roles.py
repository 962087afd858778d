"""Routes for readers, and one for each role: asserted at the router's table and at clients.

At no time may the read-write VIP answer from a replica: a reader asks it all the while.
"""

from __future__ import annotations

import collections
import contextlib
import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.lab.files import edited
from tests.lab.host import Host, LabError
from tests.lab.lab import Lab
from tests.lab.network import READ_VIP, READ_VIP6, VIP, lan6
from tests.lab.remote import standby_cluster
from tests.lab.traffic import Attempt, Reader, answers, readers

PGCAST = "/opt/pgcast/bin/pgcast"
BIRD_CONF = "/etc/bird/bird.conf"
CONFIG = "/etc/pgcast/pgcast.yml"
PATRONI_YML = "/etc/patroni/patroni.yml"
INTERVAL = 2.0  # of the reconciler, as in examples/pgcast-reconcile.service
GRACE = 5.0  # reconcile.unreachable_grace
TURN = 0.2  # seconds within which the turn of a route is seen
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
    print("\nevery role                            router right   after Patroni names")
    print("\n".join(SEEN))


@pytest.fixture
def lab(lab: Lab) -> Iterator[Lab]:
    """The healthy lab, with reconcilers and with readers at both replicas."""
    lab.reconcile(True)
    lab.wait_for(
        lambda: lab.next_hops(READ_VIP) == replicas(lab), 30, "readers at the replicas"
    )
    yield lab
    lab.reconcile(False)


@pytest.fixture(autouse=True)
def writable(lab: Lab) -> Iterator[None]:
    """The read-write VIP never answers from a replica."""
    with Reader(lab, VIP) as reader:
        yield
    assert reader.by_replica() == []


@pytest.fixture
def reader(lab: Lab) -> Iterator[Reader]:
    """A client that reads through the read-only VIP all the time."""
    with Reader(lab) as reader:
        yield reader


def replicas(lab: Lab) -> list[str]:
    leader = lab.leader()
    return [name for name in lab.members if name != leader]


def measure(
    lab: Lab, reader: Reader, event: str, hops: list[str], since: float
) -> Figure:
    """Wait until the router's table is right; what it meant for readers meanwhile."""
    lab.wait_for(lambda: lab.next_hops(READ_VIP) == sorted(hops), 60, event, 0.02)
    turned = time.time()
    lab.wait_for(lambda: time.time() > turned + TAIL, 5, "readers")
    found = reader.failed(since)
    besides = [a for a in found if not a.start - TURN < turned < a.end + TURN]
    last = max((a.start - since for a in besides), default=0.0)
    resets = len(found) - len(besides)
    figure = Figure(event, turned - since, resets, len(besides), last)
    FIGURES.append(figure)
    return figure


def share(lab: Lab, case: str) -> list[Attempt]:
    """300 readers, who answered each of them printed in the end."""
    attempts = readers(lab)
    SHARES.append(f"{case:49}  {answers(attempts)}")
    return attempts


def test_readers_lose_one_replica_then_the_other(lab: Lab, reader: Reader) -> None:
    """300 readers are spread over both replicas; all are served by the one that is left, and by
    the leader when none is."""
    leader = lab.leader() or ""
    one, other = replicas(lab)
    paths = {path.member: path.med for path in lab.bird_paths(READ_VIP)}
    assert paths == {one: 100, other: 100, leader: 100_000 - (lab.timeline() or 0)}
    found = answers(share(lab, f"replicas {one}, {other}; leader {leader}"))
    assert found.keys() == {one, other}
    assert all(0.35 <= count / 300 <= 0.65 for count in found.values()), found
    for gone, left in ((one, other), (other, leader)):
        since = time.time()
        lab.patroni[gone].signal(signal.SIGTERM)
        figure = measure(lab, reader, f"Patroni stopped; {left} left", [left], since)
        assert figure.right <= INTERVAL
        assert figure.last <= INTERVAL
        assert answers(share(lab, f"Patroni on {gone} stopped")) == {left: 300}
        lab.patroni[gone].stop()
    since = time.time()
    for name in (one, other):
        lab.patroni[name].start()
    figure = measure(lab, reader, "both started again", [one, other], since)
    assert figure.failed == 0


def test_postgresql_of_a_replica_dies(lab: Lab, reader: Reader) -> None:
    """Readers are refused there until the next pass."""
    one, other = replicas(lab)
    since = time.time()
    lab.hosts[one].kill(signal.SIGKILL, r"/postgres -D ")
    figure = measure(lab, reader, "postmaster killed", [other], since)
    assert figure.last <= figure.right
    since = time.time()
    figure = measure(lab, reader, "started by Patroni", [one, other], since)
    assert figure.failed == 0


def test_patroni_of_a_replica_hangs(lab: Lab, reader: Reader) -> None:
    """Its PostgreSQL serves on: nobody fails, and the route goes after the grace."""
    one, other = replicas(lab)
    since = time.time()
    lab.patroni[one].signal(signal.SIGSTOP)
    try:
        figure = measure(lab, reader, "Patroni hangs", [other], since)
    finally:
        lab.patroni[one].signal(signal.SIGCONT)
    assert figure.failed == 0
    assert GRACE - INTERVAL < figure.right
    since = time.time()
    figure = measure(lab, reader, "Patroni goes on", [one, other], since)
    assert figure.failed == 0


def test_a_replica_lags(lab: Lab, reader: Reader) -> None:
    """More than 16 MB behind, it serves no reader until it has caught up."""
    one, other = replicas(lab)
    lab.sql("SELECT pg_wal_replay_pause()", one)
    since = time.time()
    try:
        write = (
            "SELECT count(pg_logical_emit_message(false, 'lag', repeat('-', 1000000)))"
        )
        lab.sql(f"{write} FROM generate_series(1, 20)")
        figure = measure(lab, reader, "20 MB behind", [other], since)
    finally:
        lab.sql("SELECT pg_wal_replay_resume()", one)
    assert figure.failed == 0
    since = time.time()
    figure = measure(lab, reader, "caught up", [one, other], since)
    assert figure.failed == 0


def test_noloadbalance(lab: Lab, reader: Reader) -> None:
    """Written into Patroni's file and reloaded: on_reload is a callback."""
    one, other = replicas(lab)
    tag = "\ntags:\n  noloadbalance: true\n\npostgresql:\n"
    with edited(lab.hosts[one], PATRONI_YML, "\npostgresql:\n", tag):
        since = time.time()
        lab.patroni[one].signal(signal.SIGHUP)
        figure = measure(lab, reader, "noloadbalance, reloaded", [other], since)
    assert figure.failed == 0
    since = time.time()
    lab.patroni[one].signal(signal.SIGHUP)
    figure = measure(lab, reader, "without it, reloaded", [one, other], since)
    assert figure.failed == 0


def test_a_replica_is_promoted(lab: Lab, reader: Reader) -> None:
    """A switchover: readers stay with the replica that stays, and come to the old leader once it
    is one."""
    leader = lab.leader() or ""
    new, stays = replicas(lab)
    since = time.time()
    running = lab.switchover(to=new, wait=False)
    assert running is not None
    figure = measure(lab, reader, "switchover", [leader, stays], since)
    assert figure.last < 5
    assert running.wait(30) == 0
    assert lab.leader() == new


def test_a_replica_is_drained(lab: Lab, reader: Reader) -> None:
    """It announces on, with GRACEFUL_SHUTDOWN: the router prefers the other one."""
    one, other = replicas(lab)
    since = time.time()
    order = [PGCAST, "drain", "main", f"{READ_VIP}/32", "--for", "1h"]
    lab.hosts[one].run(order, user="postgres")
    figure = measure(lab, reader, "drained", [other], since)
    assert figure.failed == 0
    preferences = {p.member: p.local_pref for p in lab.bird_paths(READ_VIP)}
    assert preferences[one] == 0
    assert preferences[other] == 100
    since = time.time()
    lab.hosts[one].run([PGCAST, "auto", "main"], user="postgres")
    figure = measure(lab, reader, "drained no more", [one, other], since)
    assert figure.failed == 0


# A route for each role


class Role(NamedTuple):
    """A route, and as what Patroni's /cluster names the members that must announce it."""

    address: str
    route: str
    named: frozenset[str]


LEADERS = frozenset({"leader", "standby_leader"})
REPLICAS = frozenset({"replica", "sync_standby", "quorum_standby"})
ROLES = [
    Role("192.0.2.21", "role: sync", frozenset({"sync_standby"})),
    Role("192.0.2.22", "role: async", frozenset({"replica"})),
    Role("192.0.2.23", "role: quorum", frozenset({"quorum_standby"})),
    Role("192.0.2.24", "role: read-only", LEADERS | REPLICAS),
    Role("192.0.2.25", "role: any", LEADERS | REPLICAS),
    Role("192.0.2.26", "role: leader", LEADERS),
    Role("192.0.2.27", "role: standby-leader", frozenset({"standby_leader"})),
    Role("192.0.2.28", "role: replica, replication_state: streaming", REPLICAS),
    Role("2001:db8::20", "role: replica, next_hop: fd00::{}", REPLICAS),
]
EAST = Role("192.0.2.29", "role: replica, tags: {{region: east}}", REPLICAS)
SEEN: list[str] = []


@pytest.fixture(scope="module")
def routes(the_lab: Lab) -> Iterator[None]:
    """A route for each role on every member, beside those of the example."""
    added = [role for role in [*ROLES, EAST] if role.address != READ_VIP6]
    accepted = ", ".join(
        f"{address}/32" for address in [READ_VIP, *(r.address for r in added)]
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            edited(the_lab.router, BIRD_CONF, f"{READ_VIP}/32", accepted)
        )
        the_lab.router.run(["birdc", "configure", "soft"])
        for name, host in members(the_lab):
            for role in added:
                host.ip("address", "replace", f"{role.address}/32", "dev", "lo")
            text = "    routes:\n" + "".join(
                f"      - {{prefix: {prefix(role)}, {role.route.format(lan6(name)[6:])}}}\n"
                for role in [*ROLES, EAST]
            )
            stack.enter_context(edited(host, CONFIG, "    routes:\n", text))
        yield
    for name, host in members(the_lab):
        for role in [*ROLES, EAST]:
            the_lab.exabgp[name].command(f"withdraw route {prefix(role)} next-hop self")
        for role in added:
            host.ip("address", "del", f"{role.address}/32", "dev", "lo")
    the_lab.router.run(["birdc", "configure", "soft"])


def members(lab: Lab) -> list[tuple[str, Host]]:
    return [(name, lab.hosts[name]) for name in lab.members]


def prefix(role: Role) -> str:
    return f"{role.address}/{128 if ':' in role.address else 32}"


def wrong(lab: Lab) -> list[str]:
    """Where the router's table is not as Patroni names the members."""
    cluster = lab.cluster()
    found = []
    for role in ROLES:
        must = sorted(m.name for m in cluster if m.role in role.named)
        paths = sorted(path.member for path in lab.bird_paths(role.address))
        hops = lab.next_hops(role.address)
        if not paths == hops == must:
            found.append(
                f"{role.route}: {paths} in BIRD, {hops} in the kernel, not {must}"
            )
    return found


def settle(lab: Lab, case: str, named: dict[str, int]) -> None:
    """Wait until Patroni names so many members for each role, then until the router's table is
    as it says."""

    def counts() -> bool:
        roles = collections.Counter(member.role for member in lab.cluster())
        up = all(m.state in ("running", "streaming") for m in lab.cluster())
        return up and dict(roles) == named

    lab.wait_for(counts, 60, f"{case}: {named}")
    since = time.time()
    try:
        lab.wait_for(lambda: not wrong(lab), 20, case)
    except LabError as error:
        raise LabError(f"{error}: {wrong(lab)}") from error
    SEEN.append(f"{case:36}  {time.time() - since:10.2f} s   {named}")


def test_every_role(lab: Lab, routes: None) -> None:
    """Each VIP is at the members that Patroni names, whatever way they replicate."""
    edit = ["edit-config", "main", "--force", "-s"]
    settle(lab, "asynchronous", {"leader": 1, "replica": 2})
    try:
        lab.patronictl(*edit, "synchronous_mode=true")
        settle(lab, "synchronous", {"leader": 1, "sync_standby": 1, "replica": 1})
        lab.patronictl(*edit, "synchronous_mode=quorum")
        settle(lab, "quorum", {"leader": 1, "quorum_standby": 2})
    finally:
        lab.patronictl(*edit, "synchronous_mode=null")
    settle(lab, "asynchronous again", {"leader": 1, "replica": 2})


def test_a_tag_of_one_replica(lab: Lab, routes: None) -> None:
    """Only the replica with the tag announces, as long as it has it."""
    assert lab.bird_paths(EAST.address) == []
    one, _ = replicas(lab)
    tag = "\ntags:\n  region: east\n\npostgresql:\n"
    with edited(lab.hosts[one], PATRONI_YML, "\npostgresql:\n", tag):
        lab.patroni[one].signal(signal.SIGHUP)
        lab.wait_for(lambda: lab.next_hops(EAST.address) == [one], 20, "the east")
    lab.patroni[one].signal(signal.SIGHUP)
    lab.wait_for(lambda: lab.bird_paths(EAST.address) == [], 20, "no east")


def test_a_standby_cluster(lab: Lab, routes: None) -> None:
    """The leader turns into a standby leader, and back: nobody is primary meanwhile, and readers
    stay with the replicas."""
    with standby_cluster(lab):
        settle(lab, "standby cluster", {"standby_leader": 1, "replica": 2})
        assert lab.bird_paths(VIP) == []
        (leader,) = lab.next_hops("192.0.2.27")
        others = [name for name in lab.members if name != leader]
        lab.wait_for(lambda: lab.next_hops(READ_VIP) == others, 10, "readers")
    lab.wait_healthy(90)
    settle(lab, "standby cluster promoted", {"leader": 1, "replica": 2})
