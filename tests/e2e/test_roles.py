"""A route for each role, asserted at the router's table: it is at the members that Patroni names."""

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
from tests.lab.services import PATRONI_YML

BIRD_CONF = "/etc/bird/bird.conf"
CONFIG = "/etc/pgcast/pgcast.yml"
pytestmark = pytest.mark.usefixtures("writable")


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


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was measured."""
    yield
    print(
        "\n\ncase                                  router right   after Patroni names"
    )
    print("\n".join(SEEN))


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
    one, _ = lab.replicas()
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
