"""A BGP session over IPv6, with an IPv6 route and an IPv4 route over it, of each version of ExaBGP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import REPLICA, FakePatroni, cluster, says
from tests.integration.pgcast import Pgcast

CONFIG = """
neighbor 2001:db8:9::2 {
    router-id 10.9.0.1;
    local-address 2001:db8:9::1;
    local-as 65001;
    peer-as 65000;
    hold-time 9;
    family { ipv4 unicast; ipv6 unicast; }
}
"""
SIX, FOUR = "2001:db8::10/128", "192.0.2.10/32"
BOTH = {SIX: 99_993, FOUR: 99_993}


@pytest.fixture(scope="module")
def _running(
    request: pytest.FixtureRequest, bird: Bird, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exabgp]:
    directory = tmp_path_factory.mktemp("exabgp")
    with Exabgp(request.param, directory, CONFIG) as speaker:
        bird.wait_established("six")
        yield speaker


@pytest.fixture
def six(exabgp: Exabgp, pgcast: Pgcast) -> Pgcast:
    """A route of each family; only the IPv4 one needs its next-hop named."""
    pgcast.routes[0]["next_hop"] = "10.9.0.1"
    pgcast.routes.append({"prefix": SIX, "role": "primary"})
    return pgcast


def test_routes_of_both_families(six: Pgcast, bird: Bird) -> None:
    """Announced with their fence and next-hops, and withdrawn."""
    six.announce()
    bird.wait_table(BOTH)
    assert bird.next_hops() == {SIX: "2001:db8:9::1", FOUR: "10.9.0.1"}
    assert six.withdraw()[0] == 0
    bird.wait_table({})


def test_a_reconciler_finds_nothing_to_change(
    six: Pgcast, bird: Bird, patroni: FakePatroni
) -> None:
    """What it announced is read back as what it wanted; what is not earned goes."""
    six.announce()
    assert six.run("reconcile") == (0, "", "")
    patroni.will_say([REPLICA])
    code, _, err = six.run("reconcile")
    assert code == 0
    assert f"{SIX} is announced to 2001:db8:9::2" in err
    bird.wait_table({})


def test_the_session_is_told(six: Pgcast, bird: Bird, patroni: FakePatroni) -> None:
    """With its addresses, its state and its families, and no difference."""
    patroni.will_say([says(200, cluster())], "/cluster")
    six.announce()
    code, out, _ = six.run("status", "--json")
    told = json.loads(out)
    (neighbor,) = told["neighbors"]
    assert neighbor["address"] == "2001:db8:9::2"
    assert neighbor["local"] == "2001:db8:9::1"
    assert (neighbor["state"], neighbor["hold_time"]) == ("established", 9)
    assert set(neighbor["families"]) == {"ipv4 unicast", "ipv6 unicast"}
    for route in told["clusters"][0]["routes"]:
        assert (route["announced"], route["differences"]) == (True, [])
    assert (code, told["level"]) == (0, "good")


def test_an_ipv4_route_without_a_next_hop(six: Pgcast, bird: Bird) -> None:
    """`self` would be an IPv6 address: 4.2.21 sends nothing, the others their router-id, which
    may lie anywhere. Neither is taken for a success."""
    del six.routes[0]["next_hop"]
    code, said = six.callback("on_start", "primary", "main")
    assert code == 75
    assert f"{FOUR} is announced to 2001:db8:9::2 with next-hop " in said
    assert "must be an address of your choice: set next_hop" in said
    assert SIX in bird.table()
    six.routes[0]["next_hop"] = "10.9.0.1"
    six.announce()
    bird.wait_table(BOTH)
