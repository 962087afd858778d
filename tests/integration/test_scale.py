"""Many clusters on one host: nobody waits for all of them, and what was interrupted is finished.

ExaBGP is slowed down, so that a hundred commands take it a third of a second.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import clusters
from tests.integration.bird import Bird
from tests.integration.exabgp import CONFIG, VERSIONS, Exabgp
from tests.integration.patroni import FakePatroni
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

ROUTES = 400
SCOPE = clusters.scopes(ROUTES)[0]  # whose routes are announced first
TEN = {f"{vip}/32" for vip in clusters.vips(clusters.EACH)}
SLOW = {"exabgp_reactor_speed": "10", "exabgp_api_chunk": "5"}


@pytest.fixture(params=VERSIONS)
def exabgp(
    request: pytest.FixtureRequest, tmp_path: Path, bird: Bird
) -> Iterator[Exabgp]:
    """A slow ExaBGP."""
    with Exabgp(request.param, tmp_path, **SLOW) as speaker:
        bird.wait_established()
        yield speaker
    bird.wait_table({})


@pytest.fixture
def pgcast(pgcast: Pgcast, patroni: FakePatroni) -> Pgcast:
    """pgcast with many clusters, in each of which this member is the primary."""
    clusters.carry(ROUTES)
    clusters.answer(patroni, ROUTES)
    pgcast.document["clusters"] = clusters.document(patroni.url, ROUTES)
    return pgcast


def test_all_are_back_after_a_restart(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """The loop has an hour to its next pass."""
    process = pgcast.start("cli", "reconcile", "--interval", "3600")
    try:
        _wait(bird, ROUTES)
        exabgp.stop()
        _wait(bird, 0)
        exabgp.start()
        _wait(bird, ROUTES)
    finally:
        process.kill()
        process.communicate()


def test_a_pass_that_changes_nothing_sends_no_command(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """ExaBGP's log knows of none, and the history of no second event."""
    assert pgcast.run("reconcile")[0] == 0
    _wait(bird, ROUTES)
    before = exabgp.commands()
    assert before == ROUTES
    assert pgcast.run("reconcile") == (0, "", "")
    assert exabgp.commands() == before
    assert set(_events(pgcast).values()) == {1}


def test_a_withdrawal_while_all_is_announced(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """It waits for one batch, not for all: it gets the lock, reads back, and is done first.

    The routes stay withdrawn, the others are finished, and the history has them all.
    """
    process = pgcast.start("cli", "reconcile")
    until(lambda: bird.count() >= clusters.EACH, "the first routes")
    patroni.will_say([clusters.primary(SCOPE, state="stopping")], f"/{SCOPE}/primary")
    code, said = pgcast.callback("on_stop", "primary", SCOPE)
    assert process.poll() is None
    assert (code, said.count("/32")) == (0, clusters.EACH)
    assert "withdrew" in said
    assert process.wait(30) == 0
    process.communicate()
    _wait(bird, ROUTES - clusters.EACH)
    assert not TEN & bird.table().keys()
    assert len(_events(pgcast)) == ROUTES


def test_a_reconciler_killed_in_the_midst(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """The next pass reads what it left unread, and announces the rest."""
    process = pgcast.start("cli", "reconcile")
    until(lambda: bird.count() >= clusters.EACH, "the first routes")
    process.kill()
    process.communicate()
    assert exabgp.commands() < ROUTES
    assert pgcast.run("reconcile")[0] == 0
    _wait(bird, ROUTES)
    assert pgcast.run("reconcile") == (0, "", "")


def test_withdrawals_that_an_exabgp_that_hangs_leaves_unanswered(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """A maintenance: what is behind the batch that gets no answer is written all the same."""
    assert pgcast.run("reconcile")[0] == 0
    _wait(bird, ROUTES)
    pgcast.document["exabgp"]["timeout"] = 0.5
    with exabgp.stopped():
        code, _, said = pgcast.run("maintenance", "on")
        assert code == 69, said
    _wait(bird, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_two_sessions(
    version: str, tmp_path: Path, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Adj-RIB-Out is twice as long. 1,000 routes are announced and found in line within the default timeouts, by an
    ExaBGP with settings of its own."""
    routes = 1000
    clusters.carry(routes)
    clusters.answer(patroni, routes)
    pgcast.document["clusters"] = clusters.document(patroni.url, routes)
    second = CONFIG.replace("local-address 10.9.0.1", "local-address 10.9.0.3")
    with Exabgp(version, tmp_path, CONFIG + second):
        bird.wait_established()
        bird.wait_established("second")
        assert pgcast.run("reconcile")[0] == 0
        _wait(bird, 2 * routes)
        assert pgcast.run("reconcile") == (0, "", "")
    bird.wait_table({})


def _wait(bird: Bird, routes: int) -> None:
    until(lambda: bird.count() == routes, f"{routes} routes at the router", 30)


def _events(pgcast: Pgcast) -> Counter[str]:
    """How many changes the history has of each prefix, but for those of the callback."""
    lines = (pgcast.state / "history").read_text().splitlines()
    events = (json.loads(line) for line in lines)
    return Counter(event["prefix"] for event in events if event["cause"] == "reconcile")
