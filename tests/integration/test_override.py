"""An operator's standing orders, seen from the router: no robot undoes them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network

import pytest

from pgcast_hooks.model import Order, Override
from pgcast_hooks.override import Overrides
from pgcast_hooks.state import State
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp
from tests.integration.patroni import PRIMARY, REPLICA, FakePatroni, body, says
from tests.integration.pgcast import Pgcast, kill_after
from tests.integration.test_reconcile import running
from tests.integration.waiting import until

ROUTE = "192.0.2.10/32"
INTERVAL = 2.0  # of examples/pgcast-reconcile.service, here of none
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
        # The order is to be found by a loop that begins, not heard of by one that waits.
        loop.kill()
        loop.communicate()
        assert pgcast.run("withdraw", "main", "--for", "3s")[0] == 0
        bird.wait_table({})
        order = json.loads((pgcast.state / "override-192.0.2.10_32").read_text())
        loop = pgcast.start("cli", "reconcile", "--interval", "300")
        until(lambda: bird.table() != {}, "the route's return")
        after = time.clock_gettime(time.CLOCK_BOOTTIME) - order["boot_until"]
        assert 0 <= after < INTERVAL
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
        assert f"{ROUTE}: Patroni says role replica" in screen
        assert "the leader is pg2." in screen
        assert "Announce from here all the same? [y/N]" in screen
        pgcast.run("reconcile")
        bird.wait_table(table)


@pytest.mark.any_version
def test_every_reason_against_an_announcement_is_told(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast, patroni: FakePatroni
) -> None:
    """Before one yes for all: a colleague's order for the second route too."""
    pgcast.routes.append({"prefix": "192.0.2.11/32", "role": "primary"})
    patroni.will_say([says(503, body(role="replica"))])
    pgcast.run("withdraw", "main", "192.0.2.11/32", "--reason", "disk repair")
    screen = _at_a_terminal(pgcast, "n", "announce", "main", "--for", "1h")
    assert f"{ROUTE}: Patroni says role replica" in screen
    assert "192.0.2.11/32: order to withdraw by root: disk repair" in screen
    assert screen.count("[y/N]") == 1
    assert pgcast.run("reconcile") == (0, "", "")
    bird.wait_table({})


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
        code, _, err = pgcast.run("announce", "main", "--for", "1h", "--yes")
        assert code == 75
        assert "the order to announce stands, for 1h" in err
        assert "is not announced: after 0." in err
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
    code, _, err = pgcast.run("announce", "main", ROUTE, "--for", "1h", "--yes")
    assert code == 75
    assert f"{ROUTE} is not announced: after 0." in err
    assert "s maintenance by root: new kernel" in err
    code, out, err = pgcast.run("maintenance", "off")
    assert (code, out) == (0, "")
    assert f"{ROUTE} is announced: order to announce by root" in err
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
    with _full(pgcast):
        code, _, err = pgcast.run("announce", "main", "--for", "1h")
        assert code == 78
        assert "the order does not stand" in err
        code, _, err = pgcast.run("withdraw", "main", "--for", "1h")
        assert code == 78
        assert f"pgcast: {ROUTE} is withdrawn for the moment" in err
        assert "cannot be written: No space left on device; see state_dir" in err
        bird.wait_table({})


@pytest.mark.any_version
def test_what_could_not_be_read_back_is_not_claimed(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Others act all the time: the order stands, or does not, and no more is said."""
    pgcast.announce()
    order = ["announce", "main", "--for", "1h", "--yes"]
    with _acting(pgcast):
        code, _, err = pgcast.run(*order)
        assert (code, "the order to announce stands, for 1h" in err) == (75, True)
        assert "is announced" not in err
        code, _, err = pgcast.run("withdraw", "main")
        assert (code, "the order to withdraw stands, until" in err) == (75, True)
        assert "is withdrawn" not in err
    with _full(pgcast, empty=False), _acting(pgcast):
        until((pgcast.state / "generation").exists, "somebody who acts")
        _fill(pgcast)
        code, _, err = pgcast.run("withdraw", "main")
        assert code == 78
        assert "somebody else acted in the meantime" in err
        assert "for the moment" not in err
    bird.wait_table({})


@pytest.mark.any_version
def test_an_order_that_is_killed_at_any_moment(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """The reconciler goes on from what stands by then, whatever the command had done of it."""
    orders, route = Overrides(str(pgcast.state)), ip_network(ROUTE)
    pgcast.announce()
    start = time.monotonic()
    pgcast.run("withdraw", "main")
    whole = time.monotonic() - start
    found = set()
    for step in range(10):
        for command in ("withdraw", "auto"):
            orders.end(route)
            if command == "auto":
                orders.set(route, Override(Order.WITHDRAW, "a test"))
            # the moment of the kill is the point of this test, not a condition to wait for
            kill_after(pgcast.start("cli", command, "main"), whole * step / 4)
            stands = orders.standing(route) is not None
            assert pgcast.run("reconcile")[0] == 0
            bird.wait_table({} if stands else ANNOUNCED)
            found.add((command, stands))
    assert found == {
        (c, stands) for c in ("withdraw", "auto") for stands in (False, True)
    }


@contextmanager
def _acting(pgcast: Pgcast) -> Iterator[None]:
    """Somebody who acts without end, in the eyes of all others."""
    over = threading.Event()
    state = State(str(pgcast.state))

    def act() -> None:
        # Before all others, as a busy machine would else let one of them be quicker.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        while not over.wait(0.0005):
            state.raise_generation()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _full(pgcast: Pgcast, empty: bool = True) -> Iterator[None]:
    """A state directory on a disk of its own, which is full, or soon may be."""
    how = ["-t", "tmpfs", "-o", "size=16k", "tmpfs", str(pgcast.state)]
    subprocess.run(["mount", *how], check=True)
    try:
        if empty:
            _fill(pgcast)
        yield
    finally:
        subprocess.run(["umount", str(pgcast.state)], check=True)


def _fill(pgcast: Pgcast) -> None:
    with pytest.raises(OSError, match="No space left"):
        (pgcast.state / "filler").write_bytes(b"x" * 32768)


@pytest.mark.any_version
def test_without_exabgp_the_order_stands(pgcast: Pgcast, patroni: FakePatroni) -> None:
    """It is given while ExaBGP is down, says so, and is found when it is back."""
    pgcast.document["exabgp"] = {"pipe": str(pgcast.state / "none"), "timeout": 0.2}
    for order, stands in (
        (["withdraw", "main"], "withdraw stands, until 'pgcast auto'"),
        (["maintenance", "on"], "withdraw stands, until 'pgcast maintenance off'"),
        (["announce", "main", "--for", "1h", "--yes"], "announce stands, for 1h"),
    ):
        code, _, err = pgcast.run(*order, "--reason", "x")
        assert code == 69
        assert f"the order to {stands}" in err
        assert "ExaBGP is not reading" in err
    code, _, err = pgcast.run("auto", "main")
    assert "the order to announce by root is ended: x" in err


@pytest.mark.any_version
def test_neither_written_down_nor_carried_out(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Both are told, and that the order does not stand is the worse of the two."""
    pgcast.announce()
    with _full(pgcast):
        pgcast.document["exabgp"]["timeout"] = 0.3
        with exabgp.stopped():
            code, _, err = pgcast.run("maintenance", "on")
    assert code == 78
    assert "did not answer them all" in err
    assert "the order does not stand" in err


@pytest.mark.any_version
def test_an_order_of_a_colleague_is_not_replaced_in_silence(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """It is named; and to announce what somebody wants withdrawn takes a yes."""
    pgcast.run("withdraw", "main", "--for", "2h", "--reason", "disk")
    before = f"pgcast: {ROUTE}: order to withdraw by root: disk: is replaced, "
    assert before in pgcast.run("withdraw", "main", "--for", "1h")[2]
    code, _, err = pgcast.run("announce", "main", "--for", "1h")
    assert code == 75
    assert "is not announced: order to withdraw by root: no reason given" in err
    assert bird.table() == {}
    code, _, err = pgcast.run("announce", "main", "--for", "1h", "--yes")
    assert code == 0
    assert "no reason given: is replaced, " in err
    bird.wait_table(ANNOUNCED)


@pytest.mark.any_version
def test_nobody_at_the_terminal(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Ctrl-D at the question is a no."""
    patroni.will_say([replica_of_pg2])
    ours, theirs = pty.openpty()
    process = pgcast.start("cli", "announce", "main", "--for", "1h", stdin=theirs)
    os.close(theirs)
    os.write(ours, b"\x04")
    said = process.communicate(timeout=60)[1]
    os.close(ours)
    assert process.returncode == 75
    assert "is not announced: Patroni says role replica" in said


@pytest.mark.any_version
def test_a_disk_that_hangs_keeps_no_route(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """It may be why the host is drained: the route goes first."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    lock = pgcast.state / "override-lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = pgcast.start("cli", "maintenance", "on")
        until(lambda: bird.table() == {}, "the withdrawal")
        assert process.poll() is None  # it waits to write the order down
        assert not (pgcast.state / "override-host").exists()
        process.communicate(timeout=60)
    assert (pgcast.state / "override-host").exists()


@pytest.mark.any_version
def test_a_full_disk_brings_no_announcement_back(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """The order to announce goes, where the one to withdraw finds no room."""
    patroni.will_say([REPLICA])
    with _full(pgcast, empty=False):
        assert pgcast.run("announce", "main", "--for", "1h", "--yes")[0] == 0
        bird.wait_table(LAST_RESORT)
        _fill(pgcast)
        assert pgcast.run("withdraw", "main", "--for", "1h")[0] == 78
        bird.wait_table({})
        pgcast.run("reconcile")
        assert bird.table() == {}


@pytest.mark.any_version
def test_the_loop_hears_of_an_order(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """One that ends long before its next pass is due."""
    with running(pgcast, "--interval", "300"):
        bird.wait_table(ANNOUNCED)
        assert pgcast.run("withdraw", "main", "--for", "3s")[0] == 0
        bird.wait_table({})
        bird.wait_table(ANNOUNCED)


@pytest.mark.any_version
def test_a_callback_that_obeys_an_order_which_is_just_ended(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """It looks again, and follows Patroni."""
    pgcast.run("withdraw", "main")
    with (PIPE.parent / "exabgp.out").open("r+b", buffering=0) as pipe:
        fcntl.flock(pipe, fcntl.LOCK_EX)
        callback = pgcast.start("callback", "on_role_change", "primary", "main")
        generation = pgcast.state / "generation"
        before = generation.read_text()
        until(lambda: generation.read_text() != before, "the callback's beginning")
        Overrides(str(pgcast.state)).end(ip_network(ROUTE))
        State(str(pgcast.state)).raise_generation()
        fcntl.flock(pipe, fcntl.LOCK_UN)
    assert callback.wait(30) == 0, callback.communicate()
    callback.communicate()
    bird.wait_table(ANNOUNCED)


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
