"""The reconciler beside others: a callback that knows better, a lock that is held, a second cluster."""

from __future__ import annotations

import copy
import fcntl

import pytest

from pgcast_hooks.state import State
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp
from tests.integration.patroni import PRIMARY, REPLICA, FakePatroni, hang, says
from tests.integration.pgcast import Pgcast
from tests.integration.test_reconcile import SILENT, running
from tests.integration.waiting import until

ANNOUNCED = {"192.0.2.10/32": 99_993}


def second_cluster(pgcast: Pgcast, url: str, timeout: float) -> None:
    """Another cluster on this host, with a Patroni of its own."""
    cluster = copy.deepcopy(pgcast.document["clusters"]["main"])
    cluster["patroni"] = {"url": url, "timeout": timeout}
    cluster["routes"][0]["prefix"] = "192.0.2.11/32"
    pgcast.document["clusters"]["main2"] = cluster


@pytest.mark.any_version
def test_an_older_no_does_not_undo_a_confirmed_announcement(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A pass asks while the member is a replica, and waits for another cluster's Patroni; the
    callback, which began before, announces meanwhile."""
    pgcast.document["callback"]["deadline"] = 20.0
    patroni.will_say([REPLICA])
    with FakePatroni() as hung:
        hung.will_say([hang])
        second_cluster(pgcast, hung.url, 3.0)
        callback = pgcast.start("callback", "on_role_change", "primary", "main")
        until(lambda: patroni.paths, "the callback's first question")
        one_pass = pgcast.start("cli", "reconcile", "--interval", "3600")
        try:
            until(lambda: hung.paths, "the pass's questions")
            asked = len(patroni.paths)
            until(lambda: len(patroni.paths) > asked + 3, "its first answer")
            patroni.will_say([PRIMARY])
            _, said = callback.communicate(timeout=20)
            assert callback.returncode == 0, said
            bird.wait_table(ANNOUNCED)
            until((pgcast.state / "last-pass").exists, "the end of the pass")
            assert bird.table().keys() == ANNOUNCED.keys()
        finally:
            one_pass.kill()
            one_pass.communicate()


@pytest.mark.any_version
def test_a_dry_run_withdraws_nothing(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Not even where the pipe is busy, when a pass would write a withdrawal all the same."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    patroni.will_say([REPLICA])
    pgcast.document["exabgp"]["lock_timeout"] = 0.1
    with open(f"{PIPE}.out", "rb+", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, said = pgcast.run("reconcile", "--dry-run")
        assert (code, "no route was changed" in said) == (75, True), said
    assert pgcast.run("reconcile", "--dry-run")[0] == 0
    bird.wait_table(ANNOUNCED)


@pytest.mark.any_version
def test_an_older_no_is_not_written_past_the_lock(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Somebody acts while the pass waits for the pipe: it looks again, and follows what it
    then hears."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    patroni.will_say([REPLICA])
    pgcast.document["exabgp"]["lock_timeout"] = 5.0
    with open(f"{PIPE}.out", "rb+", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        asked = len(patroni.paths)
        one_pass = pgcast.start("cli", "reconcile")
        until(lambda: len(patroni.paths) > asked, "its question")
        patroni.will_say([PRIMARY])
        State(str(pgcast.state)).raise_generation()
        until(lambda: len(patroni.paths) > asked + 1, "its second question", 20)
        assert one_pass.wait(20) == 75, one_pass.communicate()
        one_pass.communicate()
        assert bird.table().keys() == ANNOUNCED.keys()


@pytest.mark.any_version
def test_what_does_not_take_makes_nobody_look_again(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """A route for a neighbor that ExaBGP does not know is tried for ever: what others heard
    meanwhile must count all the same."""
    state = State(str(pgcast.state))
    pgcast.announce()
    before = state.generation()
    pgcast.routes[0]["neighbors"] = ["10.9.0.77"]
    code, _, said = pgcast.run("reconcile")
    assert code in (75, 76), said
    assert state.generation() == before
    del pgcast.routes[0]["neighbors"]
    pgcast.withdraw()
    before = state.generation()
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table(ANNOUNCED)
    assert state.generation() != before


@pytest.mark.any_version
def test_each_cluster_s_trouble_is_told(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Though their names differ in a figure only."""
    with FakePatroni() as other:
        second_cluster(pgcast, other.url, 0.4)
        pgcast.document["clusters"]["main1"] = pgcast.document["clusters"].pop("main")
        patroni.will_say([says(401)])
        with running(pgcast) as process:
            until(lambda: len(other.paths) > 5, "some passes")
            other.will_say([says(401)])
            seen = len(other.paths)
            until(lambda: len(other.paths) > seen + 3, "more passes")
            process.terminate()
            said = process.communicate(timeout=20)[1]
    assert said.count("main1: Patroni gave no answer to trust") == 1
    assert said.count("main2: Patroni gave no answer to trust") == 1


@pytest.mark.any_version
def test_a_single_pass_asks_again_before_it_ends_a_grace(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A timer's passes may be further apart than the grace is long."""
    pgcast.document["reconcile"] = {"unreachable_grace": 0.001}
    patroni.will_say([PRIMARY, says(500), PRIMARY])
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table(ANNOUNCED)
    assert pgcast.run("reconcile") == SILENT
    assert bird.table().keys() == ANNOUNCED.keys()
    patroni.will_say([says(500)])
    assert pgcast.run("reconcile")[0] == 69
    bird.wait_table({})
