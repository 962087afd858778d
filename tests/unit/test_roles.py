"""Which member announces which kind of route, and with what: the rules, as tables."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest

from pgcast_hooks import asking, compare, policy
from pgcast_hooks.model import (
    Announcement,
    Attributes,
    Callback,
    Eligibility,
    Fence,
    FenceAttribute,
    Hint,
    Limits,
    Observation,
    Order,
    Override,
    Question,
    RestAnswer,
    RibEntry,
    Role,
    Route,
)

PREFIX = ipaddress.ip_network("192.0.2.20/32")
VIP = ipaddress.ip_address("192.0.2.20")
FENCE = Fence(FenceAttribute.MED, 100_000)
YES, NO, UNKNOWN = Eligibility
WITHDRAW, LOOK, CONFIRM = Hint
REPLICAS = (Role.REPLICA, Role.SYNC, Role.QUORUM, Role.ASYNC)


def a_route(role: Role, fallback: Role | None = None, **fields: Any) -> Route:
    return Route(PREFIX, role, VIP, None, FENCE, fallback=fallback, **fields)


def body(role: str, **changes: Any) -> dict[str, Any]:
    """What Patroni 4.1.5 says; 3.x says "master" for "primary"."""
    patroni = {"scope": "main", "version": "4.1.5"}
    known = {"state": "running", "role": role, "timeline": 7, "patroni": patroni}
    return {**known, **changes}


PRIMARY, MASTER = body("primary"), body("master")
STANDBY_LEADER = body("standby_leader")
REPLICA = body("replica", replication_state="streaming")
SYNC, QUORUM = {**REPLICA, "sync_standby": True}, {**REPLICA, "quorum_standby": True}

# For each role: the bodies that earn it with HTTP 200, and the path that is asked.
EARNING: dict[Role, tuple[str, list[dict[str, Any]]]] = {
    Role.PRIMARY: ("primary", [PRIMARY, MASTER]),
    Role.STANDBY_LEADER: ("standby-leader", [STANDBY_LEADER]),
    Role.LEADER: ("leader", [PRIMARY, MASTER, STANDBY_LEADER]),
    Role.REPLICA: ("replica", [REPLICA, SYNC, QUORUM]),
    Role.SYNC: ("sync", [SYNC]),
    Role.QUORUM: ("quorum", [QUORUM]),
    Role.ASYNC: ("async", [REPLICA]),
    Role.READ_ONLY: (
        "read-only",
        [PRIMARY, MASTER, STANDBY_LEADER, REPLICA, SYNC, QUORUM],
    ),
    Role.ANY: ("health", [PRIMARY, MASTER, STANDBY_LEADER, REPLICA, SYNC, QUORUM]),
}
NO_LIMITS = Limits()
BODIES = [PRIMARY, MASTER, STANDBY_LEADER, REPLICA, SYNC, QUORUM]


def judged(role: Role, status: int, answer: Any, limits: Limits = NO_LIMITS) -> Any:
    question = Question(role, limits)
    return asking.judge(RestAnswer(status, answer), "main", question)


@pytest.mark.parametrize("role", list(Role))
def test_who_earns_a_role(role: Role) -> None:
    """The status alone is not enough: the body must say so, and PostgreSQL must run."""
    path, earning = EARNING[role]
    assert asking.path(Question(role)) == path
    for answer in BODIES:
        seen = judged(role, 200, answer)
        assert seen.eligibility is (YES if answer in earning else NO), answer
        assert seen.question == Question(role)
        assert judged(role, 503, answer).eligibility is NO
        for state in ("starting", "stopping", "restarting", "stopped", "crashed"):
            stopped = {**answer, "state": state}
            assert judged(role, 200, stopped).eligibility is NO
    for odd in (None, {}, body("primary", patroni={"scope": "other"})):
        assert judged(role, 200, odd).eligibility is UNKNOWN
    for word in ("uninitialized", "demoted", "word of tomorrow"):
        assert judged(role, 200, body(word)).eligibility is NO


def test_limits_are_asked_of_patroni_and_looked_for_in_the_body() -> None:
    """Patroni knows of lag and tags; it has no question about replication_state."""
    limits = Limits(16 * 2**20, "streaming", (("nice name", "a&b"), ("zone", "b")))
    asked = asking.path(Question(Role.REPLICA, limits))
    assert asked == "replica?lag=16777216&tag_nice+name=a%26b&tag_zone=b"
    archive = {**REPLICA, "replication_state": "in archive recovery"}
    for role in (Role.REPLICA, Role.READ_ONLY):
        assert judged(role, 200, REPLICA, limits).eligibility is YES
        seen = judged(role, 200, archive, limits)
        assert seen.eligibility is NO
        assert "in archive recovery, not streaming" in seen.reason
    assert judged(Role.READ_ONLY, 200, PRIMARY, limits).eligibility is YES


def test_what_a_replica_lacks_is_settled() -> None:
    """A callback does not wait for a lag to shrink; it waits for a leader lock."""
    lagging = judged(Role.REPLICA, 503, REPLICA, Limits(max_lag=1))
    assert lagging.settled
    assert "/replica?lag=1 says no" in lagging.reason
    assert judged(Role.SYNC, 200, REPLICA).settled
    assert not judged(Role.REPLICA, 503, {**REPLICA, "state": "starting"}).settled
    assert not judged(Role.REPLICA, 503, PRIMARY).settled
    assert not judged(Role.PRIMARY, 503, PRIMARY).settled


def test_only_the_fence_needs_a_timeline() -> None:
    """A replica that is just starting may not know its own."""
    for role in Role:
        _, earning = EARNING[role]
        seen = judged(role, 200, {**earning[0], "timeline": None})
        fenced = role in policy.LEADERS
        assert seen.eligibility is (UNKNOWN if fenced else YES)


WORDS = ("primary", "master", "promoted", "standby_leader", "replica", "demoted")


@pytest.mark.parametrize(
    ("role", "fallback", "confirming"),
    [
        (Role.PRIMARY, None, {"primary", "master", "promoted"}),
        (Role.STANDBY_LEADER, None, {"standby_leader"}),
        (Role.LEADER, None, {"primary", "master", "promoted", "standby_leader"}),
        *[(role, None, {"replica"}) for role in REPLICAS],
        (Role.REPLICA, Role.PRIMARY, {"primary", "master", "promoted", "replica"}),
        (Role.SYNC, Role.STANDBY_LEADER, {"standby_leader", "replica"}),
        (Role.READ_ONLY, None, set(WORDS) - {"demoted"}),
        (Role.ANY, None, set(WORDS) - {"demoted"}),
    ],
)
def test_hints(role: Role, fallback: Role | None, confirming: set[str]) -> None:
    """A word that neither the role nor its fallback is behind withdraws at once."""
    route = a_route(role, fallback)
    for word in WORDS:
        for action in ("on_start", "on_role_change", "on_restart"):
            hint = policy.hint(Callback(action, word, "main"), route)
            assert hint is (CONFIRM if word in confirming else WITHDRAW)
        stopping = Callback("on_stop", word, "main")
        assert policy.hint(stopping, route) is WITHDRAW


@pytest.mark.parametrize(
    ("own", "fallback", "expected"),
    [
        (YES, NO, (YES, Role.REPLICA)),
        (YES, YES, (YES, Role.REPLICA)),
        (NO, YES, (YES, Role.PRIMARY)),
        (UNKNOWN, YES, (YES, Role.PRIMARY)),
        (YES, UNKNOWN, (YES, Role.REPLICA)),
        (NO, NO, (NO, Role.REPLICA)),
        (NO, UNKNOWN, (UNKNOWN, Role.PRIMARY)),
        (UNKNOWN, NO, (UNKNOWN, Role.REPLICA)),
        (UNKNOWN, UNKNOWN, (UNKNOWN, Role.REPLICA)),
    ],
)
def test_what_decides_about_a_route_with_a_fallback(
    own: Eligibility, fallback: Eligibility, expected: tuple[Eligibility, Role]
) -> None:
    """A yes to either; what is not known denies nothing."""
    route = a_route(Role.REPLICA, Role.PRIMARY)
    answers = {
        question: Observation(eligibility, "so", 7, question)
        for question, eligibility in zip(route.questions, (own, fallback))
    }
    found = asking.earned(route, answers)
    assert (found.eligibility, found.question.role) == expected


@pytest.mark.parametrize(
    ("role", "reason"), [(Role.REPLICA, "so"), (Role.PRIMARY, "so, as fallback")]
)
def test_the_reason_tells_a_fallback(role: Role, reason: str) -> None:
    """Who reads that a route for replicas is announced by a primary must not wonder."""
    route = a_route(Role.REPLICA, Role.PRIMARY)
    seen = Observation(YES, "so", 7, Question(role))
    assert policy.decide(route, seen, None, True).reason == reason


def announced(
    route: Route, role: Role, timeline: int | None = 7, order: Order | None = None
) -> Announcement | None:
    """What a member announces that has `role`."""
    seen = Observation(YES, "so", timeline, Question(role))
    override = Override(order, "because", "alice") if order else None
    return policy.decide(route, seen, override, True).must


def test_replicas_share_and_the_fallback_loses_to_each() -> None:
    """Equal MEDs on whatever timeline; the leader's is worse, and the newest leader's best."""
    route = a_route(Role.REPLICA, Role.PRIMARY)
    replicas = {announced(route, Role.REPLICA, line) for line in (None, 1, 7, 99)}
    assert replicas == {Announcement(PREFIX, None, med=policy.SHARED_MED)}
    meds = [announced(route, Role.PRIMARY, line) for line in (7, 8)]
    older, newer = (one.med for one in meds if one and one.med is not None)
    assert policy.SHARED_MED < newer < older
    forced = policy.last_resort(route)
    assert forced.med is not None
    assert forced.med > older


def test_attributes_are_carried() -> None:
    """As configured, whoever announces; the fence only adds its own."""
    given = Attributes(
        50, 200, (65001, 65001), ("65000:1",), ("65000:1:2",), ("target:65000:1",)
    )
    route = a_route(
        Role.REPLICA,
        Role.PRIMARY,
        attributes=given,
        neighbors=("10.0.0.1",),
        path_information="0.0.0.7",
    )
    replica = announced(route, Role.REPLICA)
    assert replica == Announcement(
        PREFIX, None, *given, neighbors=("10.0.0.1",), path_information="0.0.0.7"
    )
    assert announced(route, Role.PRIMARY) == replica._replace(med=99_993)


def test_a_drained_route_asks_routers_to_prefer_others() -> None:
    """RFC 8326: only a community is added, and Patroni decides as ever."""
    route = a_route(Role.REPLICA, attributes=Attributes(communities=("65000:1",)))
    plain = announced(route, Role.REPLICA)
    assert plain
    drained = announced(route, Role.REPLICA, order=Order.DRAIN)
    assert drained == plain._replace(communities=("65000:1", "65535:0"))
    order = Override(Order.DRAIN, "because", "alice")
    no = Observation(NO, "so", None, Question(Role.REPLICA))
    assert policy.decide(route, no, order, True).must is None
    assert not policy.decide(route, no._replace(eligibility=UNKNOWN), order, True).acts


STANDING = RibEntry("10.0.0.1", "10.0.0.11", PREFIX, "10.0.0.11", med=100)
OTHER = STANDING._replace(neighbor="10.0.0.2")
WANTED = Announcement(PREFIX, None, med=100)


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("as_path", "AS path", (65001, 65001)),
        ("communities", "communities", ("65000:1", "65535:0")),
        ("large_communities", "large communities", ("65000:1:2",)),
        ("extended_communities", "extended communities", ("target:65000:1",)),
    ],
)
def test_each_attribute_is_read_back(field: str, name: str, value: Any) -> None:
    """Missing or unwanted, it is a difference, in words."""
    said = " ".join(map(str, value))
    wanted, standing = (
        WANTED._replace(**{field: value}),
        STANDING._replace(**{field: value}),
    )
    assert compare.differences({PREFIX: wanted}, [standing]) == {}
    start = f"{PREFIX} is announced to 10.0.0.1 with {name}"
    assert compare.differences({PREFIX: wanted}, [STANDING]) == {
        PREFIX: [f"{start} none, must be {said}"]
    }
    assert compare.differences({PREFIX: WANTED}, [standing]) == {
        PREFIX: [f"{start} {said}, must be none"]
    }


def test_what_stands_beside_what_must_is_found() -> None:
    """For a neighbor that it is not meant for, or with another path identifier."""
    wanted = WANTED._replace(neighbors=("10.0.0.1", "10.0.0.3"))
    assert compare.excess({PREFIX: wanted}, [STANDING, OTHER]) == [OTHER]
    assert compare.differences({PREFIX: wanted}, [STANDING, OTHER]) == {
        PREFIX: [
            f"{PREFIX} is announced to 10.0.0.2, must be withdrawn",
            f"{PREFIX} is not announced to 10.0.0.3, must be announced",
        ]
    }
    path = STANDING._replace(path_information="0.0.0.7")
    assert compare.excess({PREFIX: WANTED}, [STANDING, path]) == [path]
    assert compare.excess({PREFIX: None}, [STANDING, path]) == [STANDING, path]
    assert compare.excess({}, [STANDING]) == []


def test_no_two_roles_share_an_answer_that_contradicts_them() -> None:
    """sync, quorum and async never hold of one replica at once."""
    for answer, status in itertools.product((REPLICA, SYNC, QUORUM), (200, 503)):
        yes = [
            role
            for role in (Role.SYNC, Role.QUORUM, Role.ASYNC)
            if judged(role, status, answer).eligibility is YES
        ]
        assert len(yes) == (status == 200)
