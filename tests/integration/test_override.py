"""An operator's standing orders, seen from the router: no robot undoes them."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from http.server import BaseHTTPRequestHandler

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import PRIMARY, REPLICA, FakePatroni, body, says
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

ROUTE = "192.0.2.10/32"
ANNOUNCED = {ROUTE: 99_993}
LAST_RESORT = {ROUTE: 100_000}
CLUSTER = {
    "scope": "main",
    "members": [
        {"name": "pg1", "role": "replica", "state": "streaming"},
        {"name": "pg2", "role": "leader", "state": "running"},
    ],
}


def replica_of_pg2(handler: BaseHTTPRequestHandler) -> None:
    """What Patroni says on a member that is not the leader."""
    reply = says(200, CLUSTER) if handler.path == "/cluster" else REPLICA
    reply(handler)


def test_a_withdrawal_stands(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Against callbacks, the reconciler and a restart of ExaBGP; until it is ended."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    order = ["withdraw", "main", "--for", "1h30m", "--reason", "disk repair"]
    code, out, err = pgcast.run(*order)
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        f"pgcast: {ROUTE} is withdrawn, for 1h 30m",
        "pgcast: clients of main have no primary to go to: this member is primary on"
        " timeline 7; patronictl switchover main",
    ]
    bird.wait_table({})
    for action in ("on_start", "on_role_change", "on_reload"):
        code, said = pgcast.callback(action, "primary", "main")
        assert code == 0
        assert "withdrew 192.0.2.10/32 (order to withdraw by root: disk repair)" in said
        assert pgcast.run("reconcile") == (0, "", "")
        assert bird.table() == {}
    exabgp.stop()
    exabgp.start()
    bird.wait_established()
    assert pgcast.run("reconcile") == (0, "", "")
    exabgp.write(f"announce route {ROUTE} next-hop self")
    bird.wait_table({ROUTE: None})
    code, out, err = pgcast.run("reconcile")
    assert "must be withdrawn: order to withdraw by root: disk repair" in err
    bird.wait_table({})
    code, out, err = pgcast.run("auto", "main")
    assert code == 0
    assert err.splitlines() == [
        f"pgcast: {ROUTE}: the order to withdraw by root is ended: disk repair",
        f"pgcast: {ROUTE} is announced to 10.9.0.2 with MED 99993: primary on timeline 7",
    ]
    bird.wait_table(ANNOUNCED)


@pytest.mark.any_version
def test_the_loop_acts_when_an_order_expires(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """At the moment itself, long before its next pass is due."""
    loop = pgcast.start("cli", "reconcile", "--interval", "300")
    try:
        bird.wait_table(ANNOUNCED)
        # Whoever gives an order wakes nobody: the loop learns of it with the next pass.
        loop.kill()
        loop.communicate()
        assert pgcast.run("withdraw", "main", "--for", "3s")[0] == 0
        bird.wait_table({})
        loop = pgcast.start("cli", "reconcile", "--interval", "300")
        start = time.monotonic()
        until(lambda: bird.table() != {}, "the route's return")
        assert time.monotonic() - start > 0.5
        bird.wait_table(ANNOUNCED)
    finally:
        loop.kill()
        loop.communicate()


@pytest.mark.any_version
def test_an_announcement_is_not_given_by_mistake(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Where another member leads it takes --yes, or somebody who says yes."""
    patroni.will_say([replica_of_pg2])
    code, out, err = pgcast.run("announce", "main", "--for", "1h")
    assert (code, out) == (75, "")
    assert err == (
        f"pgcast: {ROUTE} is not announced: Patroni says role replica, state running"
        " (HTTP 503); the leader is pg2; --yes announces it all the same, as the last"
        " resort at the router\n"
    )
    assert pgcast.run("reconcile") == (0, "", "")
    for answer, table in (("n", {}), ("y", LAST_RESORT)):
        screen = _at_a_terminal(pgcast, answer, "announce", "main", "--for", "1h")
        assert "the leader is pg2." in screen
        assert "Announce it from here all the same? [y/N]" in screen
        pgcast.run("reconcile")
        bird.wait_table(table)


def _at_a_terminal(pgcast: Pgcast, answer: str, *arguments: str) -> str:
    """One command with somebody at its terminal; what it printed."""
    ours, theirs = pty.openpty()
    process = pgcast.start("cli", *arguments, stdin=theirs)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    said = process.communicate(timeout=60)[1]
    os.close(ours)
    return said


@pytest.mark.any_version
def test_an_announcement_stands(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """As the last resort at the router while Patroni does not confirm it, with its fence
    when it does; never where the VIP is missing."""
    patroni.will_say([replica_of_pg2])
    code, _, err = pgcast.run("announce", "main", "--for", "1h", "--yes")
    assert code == 0
    assert "is announced to 10.9.0.2 with MED 100000: order to announce by root" in err
    assert "no reason given" in err
    assert err.endswith(", for 1h\n")
    bird.wait_table(LAST_RESORT)
    for role in ("primary", "replica"):
        assert pgcast.callback("on_stop", role, "main")[0] == 0
        assert bird.table() != {}
    assert pgcast.run("reconcile") == (0, "", "")
    patroni.will_say([PRIMARY])
    assert pgcast.callback("on_role_change", "primary", "main")[0] == 0
    bird.wait_table(ANNOUNCED)
    patroni.close()
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table(LAST_RESORT)
    subprocess.run(["ip", "address", "del", ROUTE, "dev", "lo"], check=True)
    try:
        assert "is on no interface of this host" in pgcast.run("reconcile")[2]
        bird.wait_table({})
    finally:
        subprocess.run(["ip", "address", "add", ROUTE, "dev", "lo"], check=True)
    pgcast.run("reconcile")
    bird.wait_table(LAST_RESORT)
    code, _, err = pgcast.run("auto", "main")
    assert code == 0
    assert "is left as it stands: Patroni at" in err
    pgcast.document["reconcile"] = {"unreachable_grace": 0.01}
    pgcast.run("reconcile")
    bird.wait_table({})


@pytest.mark.any_version
def test_maintenance(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """The whole host, whatever else was ordered; off, and all is as it was."""
    pgcast.routes.append({"prefix": "192.0.2.11/32", "role": "primary"})
    both = {ROUTE: 99_993, "192.0.2.11/32": 99_993}
    pgcast.announce()
    assert pgcast.run("withdraw", "main", "192.0.2.11/32")[0] == 0
    assert pgcast.run("announce", "main", ROUTE, "--for", "1h")[0] == 0
    bird.wait_table(ANNOUNCED)
    code, out, err = pgcast.run("maintenance", "on", "--reason", "new kernel")
    assert (code, out) == (0, "")
    said, warning = err.splitlines()
    assert said == "pgcast: every route is withdrawn, until 'pgcast maintenance off'"
    assert "clients of main have no primary to go to" in warning
    bird.wait_table({})
    code, said = pgcast.callback("on_start", "primary", "main")
    assert "(maintenance by root: new kernel)" in said
    patroni.will_say([says(500)])
    assert pgcast.run("reconcile") == (0, "", "")
    patroni.will_say([PRIMARY])
    code, out, err = pgcast.run("maintenance", "off")
    assert (code, out) == (0, "")
    assert "this host: the order to withdraw by root is ended: new kernel" in err
    bird.wait_table(ANNOUNCED)
    assert pgcast.run("auto", "main")[0] == 0
    bird.wait_table(both)
    assert "there was no order" in pgcast.run("auto", "main")[2]


@pytest.mark.any_version
def test_a_damaged_order_announces_nothing(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """It is reported each time, what stands stands, and what is lost is withdrawn."""
    pgcast.announce()
    file = pgcast.state / "override-192.0.2.10_32"
    damaged = f"override {file} is damaged"
    file.write_text("{")
    assert pgcast.run("reconcile") == (0, "", f"pgcast: {damaged}\n")
    bird.wait_table(ANNOUNCED)
    patroni.will_say([REPLICA])
    assert damaged in pgcast.run("reconcile")[2]
    bird.wait_table({})
    patroni.will_say([PRIMARY])
    assert damaged in pgcast.run("reconcile")[2]
    code, said = pgcast.callback("on_role_change", "primary", "main")
    assert code == 0
    assert f"is left as it stands: {damaged}: nothing is announced anew until" in said
    assert bird.table() == {}
    code, _, err = pgcast.run("auto", "main")
    assert code == 0
    assert f"{damaged} and is kept aside" in err
    bird.wait_table(ANNOUNCED)
    (kept,) = pgcast.state.glob("*.damaged-*")
    assert kept.read_text() == "{"


@pytest.mark.any_version
def test_an_order_that_cannot_be_written_down(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """A withdrawal is made all the same, an announcement is not; both say what is wrong."""
    pgcast.announce()
    how = ["-t", "tmpfs", "-o", "size=4k", "tmpfs", str(pgcast.state)]
    subprocess.run(["mount", *how], check=True)
    try:
        with pytest.raises(OSError, match="No space left"):
            (pgcast.state / "filler").write_bytes(b"x" * 8192)
        code, _, err = pgcast.run("announce", "main", "--for", "1h")
        assert code == 78
        assert "the order does not stand" in err
        code, _, err = pgcast.run("withdraw", "main", "--for", "1h")
        assert code == 78
        assert f"pgcast: {ROUTE} is withdrawn for the moment" in err
        assert "cannot be written: No space left on device; see state_dir" in err
        bird.wait_table({})
    finally:
        subprocess.run(["umount", str(pgcast.state)], check=True)


@pytest.mark.any_version
def test_without_exabgp_the_order_stands(pgcast: Pgcast, patroni: FakePatroni) -> None:
    """It is given while ExaBGP is down, and found when it is back."""
    pgcast.document["exabgp"] = {"pipe": str(pgcast.state / "none"), "timeout": 0.2}
    code, _, err = pgcast.run("withdraw", "main", "--reason", "x")
    assert code == 69
    assert "ExaBGP is not reading" in err
    code, _, err = pgcast.run("auto", "main")
    assert "the order to withdraw by root is ended: x" in err


@pytest.mark.any_version
def test_a_stopping_leader_under_an_order_to_announce(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """The route stays, but no longer as that of the newest leader."""
    assert pgcast.run("announce", "main", "--for", "1h")[0] == 0
    bird.wait_table(ANNOUNCED)
    patroni.will_say([says(200, body(state="stopping"))])
    assert pgcast.callback("before_stop", "-", "main")[0] == 0
    bird.wait_table(LAST_RESORT)
