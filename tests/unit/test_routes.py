"""What a route may be configured to be, and how each mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from pgcast_hooks import config, routes
from pgcast_hooks.errors import ConfigError
from pgcast_hooks.model import Attributes, FenceAttribute, Limits, Role, Route

READER = {"prefix": "192.0.2.20/32", "role": "replica"}
WRITER = {"prefix": "192.0.2.10/32", "role": "primary"}
FULL = {
    **READER,
    "fallback": "primary",
    "max_lag": "16MB",
    "replication_state": "streaming",
    "tags": {"zone": "b", "reports": True, "rack": 7},
    "fence": {"base": 5000},
    "med": 50,
    "local_preference": 200,
    "as_path": [65001, 65001, 4_200_000_000],
    "communities": ["65000:100", "no-export", "65000:20", "65000:100"],
    "large_communities": ["65000:1:2", "4200000000:0:0"],
    "extended_communities": ["target:65000:100", "origin:65000:4200000000"],
    "neighbors": ["10.0.0.1", "fd00:0::1"],
    "path_information": 7,
}


def parsed(*listed: dict[str, Any]) -> tuple[Route, ...]:
    cluster = {"patroni": "http://127.0.0.1:8008", "routes": list(listed)}
    return config.parse({"clusters": {"main": cluster}}).clusters["main"].routes


def test_a_route_in_full() -> None:
    """Sizes in bytes, tags as Patroni compares them, communities as numbers in their order."""
    (route,) = parsed(FULL)
    assert route.fallback is Role.PRIMARY
    assert route.fence == (FenceAttribute.MED, 5000)
    tags = (("rack", "7"), ("reports", "true"), ("zone", "b"))
    assert route.limits == Limits(16 * 2**20, "streaming", tags)
    assert route.attributes == Attributes(
        med=50,
        local_preference=200,
        as_path=(65001, 65001, 4_200_000_000),
        communities=("65000:20", "65000:100", "65535:65281"),
        large_communities=("65000:1:2", "4200000000:0:0"),
        extended_communities=("origin:65000:4200000000", "target:65000:100"),
    )
    assert route.neighbors == ("10.0.0.1", "fd00::1")
    assert route.path_information == "0.0.0.7"


@pytest.mark.parametrize("document", [WRITER, READER, FULL])
def test_what_is_in_force_is_a_configuration(document: dict[str, Any]) -> None:
    """Every default written out, it means the same."""
    (route,) = parsed(document)
    assert parsed(routes.effective(route)) == (
        route._replace(
            attributes=route.attributes._replace(med=routes.effective(route).get("med"))
        ),
    )


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_each_role_has_a_plain_route(role: str) -> None:
    (route,) = parsed({**READER, "role": role})
    assert (route.role.value, route.fallback, route.limits) == (role, None, Limits())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0),
        (1048576, 1048576),
        ("8kB", 8192),
        ("16 MB", 16 * 2**20),
        ("1GB", 2**30),
        ("1TB", 2**40),
        ("100B", 100),
    ],
)
def test_sizes_are_patroni_s(size: Any, expected: int) -> None:
    (route,) = parsed({**READER, "max_lag": size})
    assert route.limits.max_lag == expected


TOO_MANY = [f"65000:{number}" for number in range(33)]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"max_lag": "16 MiB"}, "max_lag: '16 MiB' is not a size such as 16MB"),
        ({"max_lag": True}, "max_lag: True is not a size"),
        ({"max_lag": -1}, "max_lag: -1 is not a size"),
        ({"max_lag": None}, "max_lag: None is not a size"),
        ({"replication_state": 7}, "replication_state: 7 is not a word of Patroni's"),
        ({"tags": ["zone"]}, "tags: must be a mapping of Patroni's tags"),
        ({"tags": {"zone": None}}, "tags.zone: None is not a word or a number"),
        ({"tags": {7: "b"}}, "tags.7: 'b' is not a word or a number"),
        ({"tags": {"zone": "b" * 101}}, "tags.zone: is longer than 100 letters"),
        ({"fallback": "replica"}, "fallback: 'replica' is not one of primary, standby"),
        ({"fallback": None}, "fallback: None is not one of"),
        ({"fence": "med"}, "fence: role replica has none: its members share"),
        (
            {"fallback": "primary", "fence": "local-preference"},
            "fence: must be med: by it a replica's wins",
        ),
        ({"fallback": "primary", "fence": "mad"}, "did you mean 'med'?"),
        ({"med": 2**32}, "med: 4294967296 is not a whole number"),
        ({"med": "100"}, "med: '100' is not a whole number"),
        ({"med": 99_001}, "med: must be 99000 at most: the fallback's falls"),
        ({"local_preference": -1}, "local_preference: -1 is not a whole number"),
        ({"as_path": [0]}, "as_path[0]: 0 is no AS number"),
        ({"as_path": 65001}, "as_path: must be a list of at least one AS number"),
        ({"as_path": []}, "as_path: must be a list of at least one AS number"),
        ({"communities": ["65536:1"]}, "communities[0]: '65536:1' is no community"),
        ({"communities": ["65000:1:2"]}, "is no community"),
        (
            {"communities": [65000]},
            "communities[0]: 65000 is no community; put it in quotes",
        ),
        ({"communities": ["no-exprot"]}, "'no-exprot' is no community"),
        ({"communities": ["1:1 med 5"]}, "'1:1 med 5' is no community"),
        ({"communities": ["1:１"]}, "is no community"),
        ({"communities": TOO_MANY}, "communities: has more than 32"),
        ({"large_communities": ["1:2"]}, "'1:2' is no large community"),
        (
            {"extended_communities": ["target:70000:1"]},
            "AS numbers up to 65535; for others take large_communities",
        ),
        ({"extended_communities": ["target:10.0.0.1:1"]}, "is no extended"),
        ({"extended_communities": ["flow:1:1"]}, "'flow:1:1' is no extended"),
        ({"neighbors": ["router"]}, "neighbors[0]: 'router' is no address"),
        ({"path_information": 0}, "path_information: 0 is not a whole number from 1"),
    ],
)
def test_mistakes_of_a_route_for_readers(document: Any, problem: str) -> None:
    """In one line with the key's path and the value."""
    with pytest.raises(ConfigError) as error:
        parsed({**READER, **document})
    assert f"clusters.main.routes[0].{problem}" in str(error.value) or (
        problem in str(error.value)
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"fallback": "leader"}, "fallback: role primary has none: it is for replicas"),
        ({"max_lag": "1MB"}, "max_lag: role primary has none"),
        ({"tags": {"a": "b"}}, "tags: role primary has none"),
        (
            {"replication_state": "streaming"},
            "replication_state: role primary has none",
        ),
        ({"med": 5}, "med: is set by the fence: set 'fence' instead"),
        (
            {"fence": "local-preference", "local_preference": 5},
            "local_preference: is set by the fence",
        ),
        ({"role": "read-only", "fallback": "primary"}, "role read-only has none"),
        ({"role": "any", "max_lag": 1}, "max_lag: role any has none"),
    ],
)
def test_mistakes_of_a_route_for_writers(document: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed({**WRITER, **document})
    assert f"clusters.main.routes[0].{problem}" in str(error.value) or (
        problem in str(error.value)
    )


def test_a_leader_s_route_may_have_what_its_fence_leaves() -> None:
    route, other = parsed(
        {**WRITER, "fence": "local-preference", "med": 5},
        {"prefix": "192.0.2.11/32", "role": "leader", "fence": "none", "med": 6},
    )
    assert (route.attributes.med, other.attributes.med) == (5, 6)
