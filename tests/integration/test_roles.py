"""Routes of every role, with limits, a fallback and attributes, seen from the router."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import FakePatroni, Reply, body, says
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

READER = "192.0.2.11/32"
NO_REPLICA = says(503, body())
REPLICA = body(role="replica", replication_state="streaming")
SYNC = {**REPLICA, "sync_standby": True}


def with_route(pgcast: Pgcast, **fields: Any) -> None:
    """The one route of the configuration is this one."""
    route = {"prefix": READER, "role": "replica", **fields}
    pgcast.document["clusters"]["main"]["routes"] = [route]


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("role", "path", "answer", "med"),
    [
        ("primary", "/primary", body(), 99_993),
        ("standby-leader", "/standby-leader", body(role="standby_leader"), 99_993),
        ("leader", "/leader", body(role="standby_leader"), 99_993),
        ("replica", "/replica", REPLICA, 100),
        ("sync", "/sync", SYNC, 100),
        ("quorum", "/quorum", {**REPLICA, "quorum_standby": True}, 100),
        ("async", "/async", REPLICA, 100),
        ("read-only", "/read-only", body(), 100),
        ("read-only", "/read-only", REPLICA, 100),
        ("any", "/health", body(role="standby_leader"), 100),
    ],
)
def test_each_role_is_asked_for_at_its_endpoint(
    exabgp: Exabgp,
    bird: Bird,
    patroni: FakePatroni,
    pgcast: Pgcast,
    role: str,
    path: str,
    answer: dict[str, Any],
    med: int,
) -> None:
    """And announced on its yes alone: by the callback, and by the reconciler."""
    with_route(pgcast, role=role)
    patroni.will_say([says(503, answer)])
    patroni.will_say([says(200, answer)], path)
    word = answer["role"]
    code, said = pgcast.callback("on_start", word, "main")
    assert (code, f"with MED {med}" in said) == (0, True), said
    bird.wait_table({READER: med})
    assert set(patroni.paths) == {path}
    patroni.will_say([says(503, answer)], path)
    code, _, said = pgcast.run("reconcile")
    assert (code, "must be withdrawn" in said) == (0, True), said
    bird.wait_table({})
    patroni.will_say([says(200, answer)], path)
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table({READER: med})
    assert pgcast.callback("on_stop", word, "main")[0] == 0
    bird.wait_table({})


@pytest.mark.any_version
def test_limits_are_part_of_the_question(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A replica that lags is withdrawn, and the callback does not wait for it to catch up."""
    pgcast.document["callback"]["deadline"] = 30.0
    with_route(pgcast, max_lag="16MB", tags={"zone": "b"})
    path = "/replica?lag=16777216&tag_zone=b"
    patroni.will_say([says(200, REPLICA)], "/replica")
    patroni.will_say([says(503, REPLICA)], path)
    code, said = pgcast.callback("on_start", "replica", "main")
    assert code == 0
    assert f"{READER} is withdrawn: Patroni says role replica" in said
    assert "/replica?lag=16777216&tag_zone=b says no" in said
    starting = says(503, {**REPLICA, "state": "starting"})
    patroni.will_say([starting, starting, says(200, REPLICA)], path)
    assert pgcast.callback("on_start", "replica", "main")[0] == 0
    bird.wait_table({READER: 100})
    assert set(patroni.paths) == {path}


@pytest.mark.any_version
def test_the_leader_stands_in(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A replica is promoted: it goes on at the worse MED, and not before it leads; then back."""
    with_route(pgcast, fallback="primary")
    yes: list[Reply] = [says(200, REPLICA)]
    patroni.will_say(yes, "/replica")
    patroni.will_say([says(503, REPLICA)], "/primary")
    assert pgcast.callback("on_start", "replica", "main")[0] == 0
    bird.wait_table({READER: 100})

    # Patroni asks for the promotion, PostgreSQL is still in recovery, then it is not.
    patroni.will_say([*yes * 3, NO_REPLICA], "/replica")
    still = says(200, REPLICA)
    patroni.will_say([still, still, says(503, REPLICA), says()], "/primary")
    code, said = pgcast.callback("on_role_change", "primary", "main")
    assert (code, "with MED 99993: primary on timeline 7" in said) == (0, True), said
    bird.wait_table({READER: 99_993})

    patroni.will_say([says(503, REPLICA)], "/primary")
    patroni.will_say(yes, "/replica")
    assert pgcast.callback("on_role_change", "replica", "main")[0] == 0
    bird.wait_table({READER: 100})
    patroni.will_say([says(503, REPLICA)], "/replica")
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table({})


@pytest.mark.any_version
def test_a_hung_question_denies_nothing(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """What stands, stands for the grace, and then falls, though the other question is answered."""
    pgcast.document["reconcile"] = {"unreachable_grace": 0.3}
    with_route(pgcast, fallback="primary")
    patroni.will_say([says(200, REPLICA)], "/replica")
    patroni.will_say([says(503, REPLICA)], "/primary")
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table({READER: 100})
    patroni.will_say([says(500, REPLICA)], "/replica")
    assert pgcast.run("reconcile")[0] == 69
    until(lambda: not pgcast.run("reconcile")[0] or not bird.table(), "the grace")
    bird.wait_table({})


ATTRIBUTES = {
    "med": 50,
    "as_path": [65001, 65001, 65001],
    "communities": ["65000:100", "no-advertise"],
    "large_communities": ["65000:1:2", "4200000000:3:4"],
    "extended_communities": ["target:65000:100", "origin:65000:5"],
}


def test_attributes_arrive_and_are_read_back(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Each kind at the router; a pass finds nothing to change, and mends what somebody changed."""
    with_route(pgcast, neighbors=["10.9.0.2"], **ATTRIBUTES)
    patroni.will_say([says(200, REPLICA)])
    code, said = pgcast.callback("on_start", "replica", "main")
    assert code == 0, said
    bird.wait_table({READER: 50})
    found = bird.attributes(READER)
    assert found["as_path"] == "65001 65001 65001"
    assert set(found["community"].split()) == {"(65000,100)", "(65535,65282)"}
    assert found["large_community"] == "(65000, 1, 2) (4200000000, 3, 4)"
    ext = found["ext_community"]
    assert "(rt, 65000, 100)" in ext
    assert "(ro, 65000, 5)" in ext
    assert pgcast.run("reconcile") == (0, "", "")
    shown = json.loads(pgcast.run("show", "--json")[1])["routes"]
    assert [row["communities"] for row in shown] == [["65000:100", "65535:65282"]]

    exabgp.write(f"announce route {READER} next-hop self med 50 community 65000:9")
    until(lambda: "(65000,9)" in str(bird.attributes(READER)), "another's route")
    code, _, said = pgcast.run("reconcile")
    assert code == 0
    assert "with communities 65000:9, must be 65000:100 65535:65282" in said
    until(lambda: bird.attributes(READER) == found, "the route as it was")


def test_a_path_identifier_is_withdrawn_with_it(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """By a callback that asks nobody; and one of somebody else's is brought into line."""
    with_route(pgcast, path_information=7)
    patroni.will_say([says(200, REPLICA)])
    assert pgcast.callback("on_start", "replica", "main")[0] == 0
    bird.wait_table({READER: 100})
    exabgp.write(f"announce route {READER} path-information 9 next-hop self med 5")
    until(lambda: len(shown(pgcast)) == 2, "another path")
    code, _, said = pgcast.run("reconcile")
    assert code == 0
    assert (
        "path-information 0.0.0.9 is announced to 10.9.0.2, must be withdrawn" in said
    )
    assert [row["path_information"] for row in shown(pgcast)] == ["0.0.0.7"]
    assert pgcast.callback("on_stop", "replica", "main")[0] == 0
    bird.wait_table({})
    exabgp.write(f"announce route {READER} path-information 9 next-hop self med 5")
    until(lambda: shown(pgcast), "another path")
    assert pgcast.callback("on_stop", "replica", "main")[0] == 0
    bird.wait_table({})


def shown(pgcast: Pgcast) -> list[dict[str, Any]]:
    """What Adj-RIB-Out holds."""
    rows = json.loads(pgcast.run("show", "--json")[1])["routes"]
    return [row for row in rows if row["announced"]]


def test_a_neighbor_that_is_not_there_is_an_error(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """ExaBGP knows no such neighbor, and so says the callback."""
    with_route(pgcast, neighbors=["10.9.0.2", "10.9.0.99"])
    patroni.will_say([says(200, REPLICA)])
    code, said = pgcast.callback("on_start", "replica", "main")
    assert code == 76
    assert "is not announced to 10.9.0.99, must be announced" in said


@pytest.mark.any_version
def test_a_drain_asks_routers_to_prefer_others(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """GRACEFUL_SHUTDOWN stands through callbacks and passes, until the order ends."""
    with_route(pgcast)
    patroni.will_say([says(200, REPLICA)])
    assert pgcast.run("reconcile")[0] == 0
    bird.wait_table({READER: 100})
    assert "community" not in bird.attributes(READER)
    code, _, said = pgcast.run("drain", "main", "--for", "1h", "--reason", "kernel")
    assert (code, f"{READER} is announced" in said) == (0, True), said
    until(lambda: bird.attributes(READER).get("community") == "(65535,0)", "the drain")
    assert pgcast.callback("on_reload", "replica", "main")[0] == 0
    assert pgcast.run("reconcile") == (0, "", "")
    assert bird.attributes(READER).get("community") == "(65535,0)"
    assert "kernel; set by root" in pgcast.run("status")[1]
    assert pgcast.run("auto", "main")[0] == 0
    until(lambda: "community" not in bird.attributes(READER), "the end of the drain")
    bird.wait_table({READER: 100})
