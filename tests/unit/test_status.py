"""What follows from what was seen, and that it fits a screen; no source is asked."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from pgcast_hooks.cli.drawing import draw
from pgcast_hooks.cli.layout import Paragraph, lay_out
from pgcast_hooks.cli.status import _with_seconds
from pgcast_hooks.cli.words import parsed, size, span, without_measures
from pgcast_hooks.config import parse
from pgcast_hooks.exabgp import Answer
from pgcast_hooks.model import (
    Announcement,
    Eligibility,
    LastPass,
    Neighbor,
    Observation,
    Order,
    Override,
    Question,
    RestAnswer,
    RibEntry,
    Role,
)
from pgcast_hooks.settings import Config, OnUnreachable, ReconcileSettings
from pgcast_hooks.status import member
from pgcast_hooks.status.picture import Level, Must, Seen, Silence, Status
from pgcast_hooks.status.verdict import combine, wanted

PREFIX = ipaddress.ip_network("192.0.2.10/32")
ANNOUNCEMENT = Announcement(PREFIX, None, med=99_993)
EARNED = Observation(Eligibility.ELIGIBLE, "primary on timeline 7", 7)
NOT_EARNED = Observation(Eligibility.NOT_ELIGIBLE, "Patroni says role replica")
UNHEARD = Observation(Eligibility.UNKNOWN, "Patroni did not answer")
SETTINGS = ReconcileSettings(5.0, OnUnreachable.WITHDRAW)
KEEP = ReconcileSettings(5.0, OnUnreachable.KEEP)
ANNOUNCED, WITHDRAWN, AS_IT_STANDS = Must


def order(what: Order) -> Override:
    return Override(what, "reason")


@pytest.mark.parametrize(
    ("observation", "since", "override", "settings", "must"),
    [
        (EARNED, 0.0, None, SETTINGS, ANNOUNCED),
        (NOT_EARNED, 0.0, None, SETTINGS, WITHDRAWN),
        (UNHEARD, 4.9, None, SETTINGS, AS_IT_STANDS),
        (UNHEARD, 5.1, None, SETTINGS, WITHDRAWN),
        (UNHEARD, None, None, SETTINGS, WITHDRAWN),
        (UNHEARD, None, None, KEEP, AS_IT_STANDS),
        (UNHEARD, 9e9, None, KEEP, AS_IT_STANDS),
        (EARNED, 0.0, order(Order.WITHDRAW), SETTINGS, WITHDRAWN),
        (UNHEARD, None, order(Order.WITHDRAW), KEEP, WITHDRAWN),
        (NOT_EARNED, 0.0, order(Order.ANNOUNCE), SETTINGS, ANNOUNCED),
        (UNHEARD, None, order(Order.ANNOUNCE), SETTINGS, ANNOUNCED),
        (EARNED, 0.0, order(Order.HOLD), SETTINGS, AS_IT_STANDS),
        (NOT_EARNED, 0.0, order(Order.HOLD), SETTINGS, WITHDRAWN),
        (UNHEARD, None, order(Order.HOLD), SETTINGS, WITHDRAWN),
    ],
)
def test_what_is_wanted(
    observation: Observation,
    since: float | None,
    override: Override | None,
    settings: ReconcileSettings,
    must: Must,
) -> None:
    """An override first, then Patroni, then the grace; nothing is announced anew unknown."""
    route = config().clusters["main"].routes[0]
    found = wanted(route, observation, True, since, override, settings)
    assert found.must is must
    if must is not ANNOUNCED:
        assert found.announcement is None


def config(*prefixes: str, scope: str = "main") -> Config:
    routes = [
        {"prefix": prefix, "role": "primary", "next_hop": "2001:db8::1"}
        for prefix in prefixes
    ]
    if not prefixes:
        routes = [{"prefix": str(PREFIX), "role": "primary"}]
    patroni = "http://127.0.0.1:8008"
    return parse({"clusters": {scope: {"patroni": patroni, "routes": routes}}})


def seen(of: Config, **changes: Any) -> Seen:
    """All is well; `changes` replace what was seen."""
    ((scope, cluster),) = of.clusters.items()
    prefixes = [route.prefix for route in cluster.routes]
    neighbor = Neighbor("10.0.0.1", "10.0.0.11", "established", 60, 65000, 9)
    entries = tuple(
        RibEntry(
            "10.0.0.1",
            "10.0.0.11",
            route.prefix,
            str(route.next_hop or "self"),
            med=99_993,
        )
        for route in cluster.routes
    )
    observation = Observation(Eligibility.ELIGIBLE, "primary on timeline 7", 7)
    local = member.Local(
        "pg1", "4.1.5", "primary", "running", 7, None, False, False, False, False
    )
    one = member.Member("pg1", "10.0.0.11", "leader", "running", 7, None, {})
    found = Seen(
        observations={(scope, Question(Role.PRIMARY)): observation},
        carried=dict.fromkeys(prefixes, True),
        local={scope: local},
        members={scope: member.Members((one,), False, None)},
        exabgp=Answer(entries, 0, "5.0.15", (neighbor,)),
        since_known={(scope, Question(Role.PRIMARY)): 1.0},
        overrides=dict.fromkeys(prefixes),
        last_changes=dict.fromkeys(prefixes),
        reconciler="1234",
        last_pass=LastPass(1.0, 12.0, 0, (), 2.0),
        troubles=(),
    )
    return found._replace(**changes)


def status(of: Config, **changes: Any) -> Status:
    return combine(of, of.clusters.values(), "pg1", "/pipe.in", seen(of, **changes))


UNKNOWN = Observation(Eligibility.UNKNOWN, "Patroni did not answer")
DOWN = Neighbor("10.0.0.2", state="idle")
UP = Neighbor("10.0.0.1", state="established")


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Level.GOOD),
        ({"reconciler": None, "last_pass": None}, Level.GOOD),
        ({"reconciler": None}, Level.WRONG),
        ({"last_pass": LastPass(17.0, 1.0, 0, (), 2.0)}, Level.WRONG),
        ({"last_pass": LastPass(15.0, 1.0, 0, (), 2.0)}, Level.GOOD),
        ({"last_pass": LastPass(float("inf"), 1.0, 0, (), None)}, Level.GOOD),
        ({"last_pass": LastPass(1.0, 1.0, 0, ("trouble",), 2.0)}, Level.UNKNOWN),
        ({"troubles": ("state file",)}, Level.UNKNOWN),
        ({"exabgp": Silence("hangs")}, Level.UNKNOWN),
        ({"members": {"main": Silence("hangs")}}, Level.UNKNOWN),
        ({"local": {"main": Silence("hangs")}}, Level.UNKNOWN),
        ({"exabgp": Answer((), 0, None, ())}, Level.WRONG),
        ({"carried": {PREFIX: False}}, Level.WRONG),
        ({"overrides": {PREFIX: order(Order.WITHDRAW)}}, Level.WRONG),
        ({"overrides": {PREFIX: order(Order.ANNOUNCE)}}, Level.GOOD),
        ({"overrides": {PREFIX: order(Order.HOLD)}}, Level.UNKNOWN),
        (
            {
                "exabgp": Answer((), 0, None, ()),
                "observations": {("main", Question(Role.PRIMARY)): NOT_EARNED},
                "overrides": {PREFIX: order(Order.ANNOUNCE)},
                "carried": {PREFIX: False},
            },
            Level.WRONG,
        ),
    ],
)
def test_levels(changes: dict[str, Any], level: Level) -> None:
    """What is wrong, what is not known, and what is somebody's choice."""
    assert status(config(), **changes).level is level


def test_what_is_wrong_weighs_more_than_what_is_not_known() -> None:
    """With Patroni silent for longer than the grace, a route that stands must not."""
    key = ("main", Question(Role.PRIMARY))
    silent = {"observations": {key: UNKNOWN}}
    found = status(config(), **silent, since_known={key: 1.0})
    assert found.level is Level.UNKNOWN
    assert found.routes[0].age == 1.0
    assert found.routes[0].wanted.grace_left == 4.0
    found = status(config(), **silent, since_known={key: 60.0})
    assert found.level is Level.WRONG


def test_a_session_that_is_down() -> None:
    """Is wrong by itself; the route is as long as nobody is told of it."""
    of = config()
    standing = RibEntry("10.0.0.1", "10.0.0.11", PREFIX, "self", med=99_993)
    both = (standing, standing._replace(neighbor="10.0.0.2"))
    found = status(of, exabgp=Answer(both, 0, None, (UP, DOWN)))
    assert (found.level, found.routes[0].level) == (Level.WRONG, Level.GOOD)
    assert found.routes[0].unsent == ("10.0.0.2",)
    found = status(of, exabgp=Answer(both[1:], 0, None, (UP, DOWN)))
    assert found.routes[0].level is Level.WRONG


LONG = [f"2001:db8:aaaa:bbbb:cccc:dddd:eeee:{number:x}/128" for number in range(1, 4)]


@pytest.mark.parametrize("columns", [100, 60])
@pytest.mark.parametrize("scope", ["main", "an-unreasonably-long-scope-" * 4])
def test_it_fits(columns: int, scope: str) -> None:
    """Long prefixes, long scopes, many neighbors: nothing overflows, and nothing is cut."""
    of = config(*LONG, scope=scope)
    neighbors = tuple(
        Neighbor(f"2001:db8:ffff:ffff:ffff:ffff:ffff:{number:x}", "::1", "established")
        for number in range(16, 24)
    )
    entries = tuple(
        RibEntry(n.address, "::1", ipaddress.ip_network(prefix), "2001:db8::1", med)
        for prefix in LONG
        for med, n in enumerate(neighbors, 4294967000)
    )
    host = Override(Order.WITHDRAW, "x" * 150, "bob", 1.0, left=9.0, whole_host=True)
    changes: dict[str, Any] = {
        "exabgp": Answer(entries, 0, "5.0.15", neighbors),
        "troubles": ("state file /" + "d" * 120 + " cannot be used",),
        "overrides": dict.fromkeys(map(ipaddress.ip_network, LONG), host),
    }
    drawn = draw(status(of, **changes), members=True, now="03:12:45")
    for changed in (None, {"title", *(f"verdict {prefix}" for prefix in LONG)}):
        lines = lay_out(drawn, columns, False, changed)
        assert max(map(len, lines)) <= columns
        text = "\n".join(lines)
        for word in (*LONG, *(n.address for n in neighbors), "4294967007"):
            assert word in text
        whole = text.replace("\n", "").replace(" ", "")
        for long in (scope, "x" * 150, "d" * 120):
            assert long in whole


def test_a_line_that_has_changed_is_marked() -> None:
    """In a column of its own, so that the rest does not move."""
    paragraphs = [
        Paragraph("a", "one", Level.GOOD),
        Paragraph("b", "two " * 5, Level.WRONG, hang=2),
    ]
    assert lay_out(paragraphs, 16, False) == [
        "   one",
        "!! two two two",
        "     two two",
    ]
    assert lay_out(paragraphs, 20, False, {"b"}) == [
        "    one",
        "!!* two two two two",
        "      two",
    ]


def test_nobody_commands_the_terminal() -> None:
    """What others wrote is shown, not obeyed."""
    evil = Paragraph("a", "\033[2J\x9b31m\rall is well\n!! no\u202e")
    assert lay_out([evil], 100, False) == ["   ?[2J?31m?all is well?!! no?"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (9.94, "9.9 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
        (-3, "0 s"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    """Two units at most."""
    assert span(seconds) == said


def test_sizes() -> None:
    """As PostgreSQL writes them."""
    assert [size(n) for n in (0, 1023, 1024, 16384, 3_400_000, 1 << 60)] == [
        *("0 B", "1023 B", "1.0 kB", "16 kB", "3.2 MB", "1048576 TB"),
    ]


def test_figures_that_change_by_themselves() -> None:
    """Are not what --watch marks; a MED or a timeline is."""
    for one, other in (
        ("last 59 s ago, took 1.2 ms", "last 1 min 2 s ago, took 12 ms"),
        ("lag 16 kB, TL 7", "lag 3.2 MB, TL 7"),
    ):
        assert without_measures(one) == without_measures(other)
    assert without_measures("timeline 7") != without_measures("timeline 8")
    assert without_measures("MED 99993") != without_measures("MED 99992")


def test_moments_of_the_history() -> None:
    """Damage is no moment."""
    assert parsed("1970-01-01T00:01:00.123Z") == 60.0
    for damage in ("", "None", "yesterday", "1970-01-01T00:01:00"):
        assert parsed(damage) is None


@pytest.mark.parametrize(
    ("args", "read"),
    [
        (["--watch"], ["--watch=2"]),
        (["--watch", "main"], ["--watch=2", "main"]),
        (["--watch", "0.5", "main"], ["--watch", "0.5", "main"]),
        (["main", "--watch", "--json"], ["main", "--watch=2", "--json"]),
        (["--watch=7"], ["--watch=7"]),
    ],
)
def test_watch_without_a_number(args: list[str], read: list[str]) -> None:
    """What follows is only its number if it is one."""
    assert _with_seconds(args) == read


@pytest.mark.parametrize(
    "body", [None, {}, {"state": 7}, {"members": {}}, {"members": "pg1"}]
)
def test_answers_that_are_none(body: dict[str, Any] | None) -> None:
    """Nothing is made up."""
    assert member.local(RestAnswer(200, body)) is None
    assert member.members(RestAnswer(200, body)) is None


def test_answers_of_an_older_patroni() -> None:
    """Without a name in /patroni (3.0.2), the lag is not known; a list may hold anything."""
    body = {"state": "running", "role": "master", "timeline": True, "patroni": None}
    found = member.local(RestAnswer(503, body))
    assert found
    assert (found.name, found.role, found.timeline) == (None, "master", None)
    items = {"members": [1, None, {"name": "pg1", "role": "leader", "lag": "unknown"}]}
    cluster = member.members(RestAnswer(200, items))
    assert cluster
    assert cluster.leader == "pg1"
    assert [one.lag for one in cluster.members] == [None]
