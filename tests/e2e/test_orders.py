"""An operator's standing orders in the lab: on the leader, with everything at work that might undo them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.lab.lab import CALLBACK, Lab

PGCAST = "/opt/pgcast/bin/pgcast"
HELD = 12.0  # seconds that the order holds
INTERVAL = 2.0  # of the reconciler, as in examples/pgcast-reconcile.service


def pgcast(lab: Lab, member: str, *arguments: str) -> str:
    """One command as the user that Patroni runs as; what it said."""
    done = lab.hosts[member].run([PGCAST, *arguments], user="postgres")
    return done.stdout + done.stderr


@pytest.fixture
def leader(lab: Lab) -> Iterator[str]:
    """The leader; the reconcilers are off."""
    yield lab.leader() or ""
    lab.reconcile(False)


def test_a_withdrawal_holds_until_it_expires(lab: Lab, leader: str) -> None:
    """Three passes, a callback and a restart of ExaBGP later the route is still gone; it is back
    within one interval of the moment that the order ends."""
    host, exabgp = lab.hosts[leader], lab.exabgp[leader]
    start = time.monotonic()
    pgcast(lab, leader, "withdraw", "main", "--for", f"{HELD:.0f}s", "--reason", "test")
    lab.wait_for(lambda: lab.bird_paths() == [], 5, "withdrawal", poll=0.02)
    for _ in range(3):
        assert pgcast(lab, leader, "reconcile") == ""
    host.run([CALLBACK, "on_start", "primary", "main"], user="postgres")
    exabgp.signal(signal.SIGTERM)
    lab.wait_for(lambda: not exabgp.running, 5, "the end of ExaBGP")
    exabgp.start()
    lab.reconcile(True)
    lab.wait_for(
        lambda: leader in lab.established(), HELD, "the BGP session", poll=0.02
    )
    assert lab.bird_paths() == []
    assert time.monotonic() - start < HELD, "the machine is too slow for this test"
    lab.wait_for(lambda: lab.route() == leader, HELD + 10, "the route", poll=0.02)
    after = time.monotonic() - start - HELD
    print(f"the route is back {after:.2f} s after the order's end")
    assert -0.1 < after < INTERVAL


def test_maintenance_and_a_switchover(lab: Lab, leader: str) -> None:
    """The host that is being repaired announces nothing, whoever leads; then it does again."""
    lab.reconcile(True)
    (other,) = [name for name in lab.members if name != leader][:1]
    pgcast(lab, other, "maintenance", "on", "--reason", "new kernel")
    lab.patronictl(
        "switchover", "main", "--leader", leader, "--candidate", other, "--force"
    )
    lab.wait_for(lambda: lab.leader() == other, 30, "the new leader")
    lab.wait_for(lambda: lab.bird_paths() == [], 10, "no path")
    said = pgcast(lab, other, "maintenance", "off")
    assert "the order to withdraw by postgres is ended: new kernel" in said
    lab.wait_for(lambda: lab.route() == other, 5, "the route at the new leader")
    lab.wait_healthy(60)
