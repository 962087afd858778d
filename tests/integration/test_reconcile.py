"""The reconciler as a process: what no callback told is repaired, seen from the router."""

from __future__ import annotations

import copy
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pgcast_hooks.state import State
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp
from tests.integration.patroni import PRIMARY, REPLICA, FakePatroni, Late, body, says
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

ANNOUNCED = {"192.0.2.10/32": 99_993}
SILENT = (0, "", "")


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.fake.over.wait(30)  # type: ignore[attr-defined]


@contextmanager
def running(pgcast: Pgcast, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The loop, for as long as the context lasts."""
    process = pgcast.start("cli", "reconcile", "--interval", "0.2", *options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_pass_brings_in_line(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Missing, with the wrong fence, standing unearned: one line each, and silence after it."""
    code, out, err = pgcast.run("reconcile")
    assert (code, out) == (0, "")
    assert err == (
        "pgcast: 192.0.2.10/32 is withdrawn, must be announced: primary on timeline 7\n"
    )
    bird.wait_table(ANNOUNCED)
    assert pgcast.run("reconcile") == SILENT

    exabgp.write("announce route 192.0.2.10/32 next-hop self med 5")
    exabgp.write("announce route 192.0.2.11/32 next-hop self med 5")
    err = pgcast.run("reconcile")[2]
    assert (
        "is announced to 10.9.0.2 with MED 5, must be 99993: primary on timeline 7"
        in err
    )
    bird.wait_table({**ANNOUNCED, "192.0.2.11/32": 5})

    patroni.will_say([REPLICA])
    err = pgcast.run("reconcile")[2]
    assert (
        "is announced to 10.9.0.2, must be withdrawn: Patroni says role replica" in err
    )
    bird.wait_table({"192.0.2.11/32": 5})
    assert pgcast.run("reconcile") == SILENT


@pytest.mark.any_version
def test_a_vip_that_is_on_no_interface_loses_its_route(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Traffic would be dropped here; elsewhere it may not be."""
    pgcast.routes[0]["prefix"] = "192.0.2.99/32"
    exabgp.write("announce route 192.0.2.99/32 next-hop self med 99993")
    bird.wait_table({"192.0.2.99/32": 99_993})
    err = pgcast.run("reconcile")[2]
    assert (
        "must be withdrawn: primary on timeline 7, but 192.0.2.99 is on no interface"
        in err
    )
    bird.wait_table({})


@pytest.mark.any_version
def test_a_dry_run_changes_nothing(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """It tells what is wanted, what differs, and what would be written."""
    code, out, err = pgcast.run("reconcile", "--dry-run")
    assert (code, err) == (0, "")
    command = "announce route 192.0.2.10/32 next-hop self med 99993"
    assert out.splitlines() == [
        f"want  {command}",
        "have  192.0.2.10/32 is withdrawn, must be announced: primary on timeline 7",
        f"write {command}",
    ]
    assert bird.table() == {}


@pytest.mark.any_version
def test_a_hung_patroni_keeps_its_route_for_the_grace(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """The grace spans processes: it counts from the last answer that was known, to any of them."""
    pgcast.document["reconcile"] = {"unreachable_grace": 600}
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    patroni.will_say([hang])
    code, _, err = pgcast.run("reconcile")
    assert code == 69
    assert "pgcast: main: Patroni at" in err
    assert "did not answer within 0.4 s" in err
    assert bird.table() != {}
    pgcast.document["reconcile"] = {"unreachable_grace": 0.01}
    code, _, err = pgcast.run("reconcile")
    assert code == 69
    assert "is announced to 10.9.0.2, must be withdrawn: Patroni at" in err
    bird.wait_table({})


@pytest.mark.any_version
@pytest.mark.parametrize("record", ["", "00000000 {now}", "garbage", None])
def test_a_patroni_that_was_never_known_loses_its_route(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, record: str | None
) -> None:
    """No record, one of another boot, a damaged one: none of them is a reason to keep a route."""
    exabgp.write("announce route 192.0.2.10/32 next-hop self")
    pgcast.document["reconcile"] = {"unreachable_grace": 600}
    if record is not None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        (pgcast.state / "known-primary-main").write_text(record.format(now=now))
    patroni.close()
    assert pgcast.run("reconcile")[0] == 69
    bird.wait_table({})


@pytest.mark.any_version
def test_a_patroni_that_is_back_is_heard_at_once(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """It was killed with its PostgreSQL and starts this as a replica: the route, which stands for
    the grace, must not wait for the next pass, which is due in an hour."""
    pgcast.document["reconcile"] = {"unreachable_grace": 600}
    with running(pgcast, "--interval", "3600"):
        bird.wait_table(ANNOUNCED)
        patroni.will_say([says(500)])
        State(str(pgcast.state)).raise_generation()
        asked = len(patroni.paths)
        until(lambda: len(patroni.paths) > asked + 2, "passes that hear nothing")
        assert bird.table().keys() == ANNOUNCED.keys()
        patroni.will_say([says(503, body(role="replica", state="starting"))])
        bird.wait_table({})


@pytest.mark.any_version
def test_on_unreachable_keep(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Who fears a hung Patroni less than an outage can say so; nothing is announced anew."""
    pgcast.document["reconcile"] = {"unreachable_grace": 0.01, "on_unreachable": "keep"}
    pgcast.announce()
    patroni.close()
    assert pgcast.run("reconcile")[0] == 69
    bird.wait_table(ANNOUNCED)
    pgcast.withdraw()
    assert pgcast.run("reconcile")[0] == 69
    bird.wait_table({})


@pytest.mark.any_version
def test_a_callback_while_it_looks_wins(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Patroni said "primary" to the reconciler just before it stopped: that answer is thrown away."""
    late = Late()
    patroni.will_say([late, says(200, body(state="stopping"))])
    pgcast.document["clusters"]["main"]["patroni"]["timeout"] = 30
    process = pgcast.start("cli", "reconcile")
    assert late.asked.wait(30)
    assert pgcast.callback("before_stop", "-", "main")[0] == 0
    late.answer_now.set()
    while process.poll() is None:
        assert bird.table() == {}
    assert process.returncode == 0
    assert process.communicate()[1] == ""
    assert len(patroni.paths) == 2
    assert bird.table() == {}


@pytest.mark.any_version
def test_one_hung_patroni_delays_no_other(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Twenty clusters hang for 2 s each; the one that answers has its route, in one pass."""
    with FakePatroni() as hung:
        hung.will_say([hang])
        for number in range(20):
            cluster = copy.deepcopy(pgcast.document["clusters"]["main"])
            cluster["patroni"] = {"url": hung.url, "timeout": 2}
            cluster["routes"][0]["prefix"] = f"198.51.100.{number}/32"
            pgcast.document["clusters"][f"hung{number}"] = cluster
        start = time.monotonic()
        code, _, err = pgcast.run("reconcile")
        assert time.monotonic() - start < 20  # one after the other would take 40 s
    assert code == 69
    assert err.count("did not answer within 2 s") == 20
    bird.wait_table(ANNOUNCED)


@pytest.mark.any_version
def test_only_one_reconciler(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """A second one says who runs; one that was killed is no hindrance."""
    with running(pgcast) as first:
        bird.wait_table(ANNOUNCED)
        code, _, err = pgcast.run("reconcile")
        assert code == 75
        assert f"another reconciler is running, process {first.pid}" in err
        first.kill()
        first.wait()
        assert pgcast.run("reconcile") == SILENT


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("options", "table"), [([], ANNOUNCED), (["--withdraw-on-exit"], {})]
)
def test_sigterm(
    exabgp: Exabgp,
    bird: Bird,
    pgcast: Pgcast,
    options: list[str],
    table: dict[str, int | None],
) -> None:
    """It ends at once and cleanly, and does with the routes what it was told."""
    with running(pgcast, *options) as process:
        bird.wait_table(ANNOUNCED)
        process.terminate()
        assert process.wait(10) == 0
        bird.wait_table(table)


@pytest.mark.any_version
@pytest.mark.parametrize("damage", ["missing", "read-only", "full", "of somebody else"])
def test_without_its_state_directory_it_still_reconciles(
    exabgp: Exabgp,
    bird: Bird,
    patroni: FakePatroni,
    pgcast: Pgcast,
    tmp_path: Path,
    damage: str,
) -> None:
    """Routes follow Patroni; what is not known withdraws, as no grace can be counted."""
    mounted = damage in ("read-only", "full")
    options = {"read-only": "ro", "full": "size=4k"}
    if mounted:
        how = ["-t", "tmpfs", "-o", options[damage], "tmpfs", str(pgcast.state)]
        subprocess.run(["mount", *how], check=True)
    if damage == "full":
        with pytest.raises(OSError, match="No space left"):
            (pgcast.state / "filler").write_bytes(b"x" * 8192)
    elif damage == "missing":
        pgcast.state.rmdir()
    uid = 0
    if damage == "of somebody else":
        pgcast.state.chmod(0o700)
        uid = 65534
        for directory in [tmp_path, *tmp_path.parents][:3]:
            directory.chmod(0o755)
        for end in ("in", "out"):
            os.chmod(f"{PIPE}.{end}", 0o666)
    try:
        for reply, table in (
            (PRIMARY, ANNOUNCED),
            (REPLICA, {}),
            (PRIMARY, ANNOUNCED),
            (hang, {}),
        ):
            patroni.will_say([reply])
            process = pgcast.start("cli", "reconcile", uid=uid)
            _, err = process.communicate(timeout=60)
            assert process.returncode == (69 if reply is hang else 0), err
            assert f"pgcast: state file {pgcast.state}/" in err
            bird.wait_table(table)
    finally:
        if mounted:
            subprocess.run(["umount", str(pgcast.state)], check=True)


@pytest.mark.any_version
def test_trouble_is_told_once(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """When it begins and when it ends, not at every pass."""
    with running(pgcast) as process:
        bird.wait_table(ANNOUNCED)
        patroni.will_say([says(401)])
        asked = len(patroni.paths)
        until(lambda: len(patroni.paths) > asked + 5, "some passes")
        patroni.will_say([PRIMARY])
        asked = len(patroni.paths)
        until(lambda: len(patroni.paths) > asked + 5, "some more passes")
        process.terminate()
        _, err = process.communicate(timeout=10)
    assert err.splitlines() == [
        "pgcast: 192.0.2.10/32 is withdrawn, must be announced: primary on timeline 7",
        "pgcast: main: Patroni gave no answer to trust (HTTP 401)",
        "pgcast: all is known and in line again",
    ]
