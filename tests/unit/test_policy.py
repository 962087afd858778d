"""The rules of safety, as tables."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcast_hooks import asking, compare, policy
from pgcast_hooks.errors import FenceExhausted
from pgcast_hooks.model import (
    Announcement,
    Callback,
    Eligibility,
    Fence,
    FenceAttribute,
    Hint,
    Observation,
    Order,
    Override,
    Question,
    RestAnswer,
    RibEntry,
    Role,
    Route,
)
from pgcast_hooks.settings import OnUnreachable, ReconcileSettings

PREFIX = ipaddress.ip_network("192.0.2.10/32")
VIP = ipaddress.ip_address("192.0.2.10")
PRIMARY = Question(Role.PRIMARY)
ELIGIBLE, NOT_ELIGIBLE, UNKNOWN = Eligibility
WITHDRAW, LOOK, CONFIRM = Hint


def a_route(
    attribute: FenceAttribute = FenceAttribute.MED, base: int = 100_000
) -> Route:
    return Route(PREFIX, Role.PRIMARY, VIP, None, Fence(attribute, base))


@pytest.mark.parametrize(
    ("action", "role", "expected"),
    [
        ("on_start", "primary", CONFIRM),
        ("on_start", "master", CONFIRM),  # Patroni up to 3.3
        ("on_role_change", "promoted", CONFIRM),  # Patroni 3.0.0
        ("on_restart", "primary", CONFIRM),
        ("on_reload", "primary", LOOK),
        ("on_stop", "primary", WITHDRAW),  # on_stop carries the role that was
        ("on_stop", "demoted", WITHDRAW),
        ("before_stop", "-", WITHDRAW),
        ("before_stop", "primary", WITHDRAW),
        ("on_role_change", "replica", WITHDRAW),
        ("on_role_change", "demoted", WITHDRAW),
        ("on_start", "uninitialized", WITHDRAW),
        ("on_start", "standby_leader", WITHDRAW),
        ("on_reload", "replica", WITHDRAW),
        ("on_start", "", WITHDRAW),
        ("on_start", "word of tomorrow", WITHDRAW),
        ("action_of_tomorrow", "primary", LOOK),
        ("action_of_tomorrow", "replica", WITHDRAW),
    ],
)
def test_hint(action: str, role: str, expected: Hint) -> None:
    """The action counts before the role, and a word that is not known never
    announces."""
    assert policy.hint(Callback(action, role, "main"), a_route()) is expected


def body(**values: Any) -> dict[str, Any]:
    answer = {
        "state": "running",
        "role": "primary",
        "timeline": 7,
        "patroni": {"version": "4.1.5", "scope": "main", "name": "pg1"},
    }
    return {**answer, **values}


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, body(), ELIGIBLE),
        (200, body(role="master"), ELIGIBLE),
        (200, body(pause=True), ELIGIBLE),
        (200, body(failsafe_mode_is_active=True, cluster_unlocked=True), ELIGIBLE),
        (200, body(role="replica"), NOT_ELIGIBLE),  # /primary during a promotion
        (200, body(state="stopping"), NOT_ELIGIBLE),  # /primary during before_stop
        (200, body(state="restarting"), NOT_ELIGIBLE),
        (200, body(state="crashed"), NOT_ELIGIBLE),
        (503, body(), NOT_ELIGIBLE),  # a primary that does not hold the leader lock
        (503, body(role="replica"), NOT_ELIGIBLE),
        (503, body(role="standby_leader"), NOT_ELIGIBLE),
        (200, body(role=["primary"]), NOT_ELIGIBLE),
        (503, None, UNKNOWN),
        (200, {}, UNKNOWN),
        (404, body(), UNKNOWN),
        (401, body(), UNKNOWN),
        (500, body(), UNKNOWN),
        (301, body(), UNKNOWN),
        (200, body(patroni={"scope": "other"}), UNKNOWN),
        (200, body(patroni=None), UNKNOWN),
        (200, body(timeline=None), UNKNOWN),
        (200, body(timeline=True), UNKNOWN),
        (200, body(timeline="7"), UNKNOWN),
        (200, body(timeline=0), UNKNOWN),
        (200, body(state=None), UNKNOWN),
    ],
)
def test_judge(status: int, answer: Any, expected: Eligibility) -> None:
    """The status alone is not enough, and nothing that is odd is believed."""
    observation = asking.judge(RestAnswer(status, answer), "main", PRIMARY)
    assert observation.eligibility is expected
    assert (observation.timeline == 7) is (expected is ELIGIBLE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["state", "role", "timeline", "patroni"]), json_values
    ),
)
def test_no_answer_is_a_bug(status: int, answer: dict[str, Any]) -> None:
    """Whatever Patroni's port says, judging it raises nothing."""
    asking.judge(RestAnswer(status, answer), "main", PRIMARY)


@given(st.integers(1, 99_999), st.integers(1, 99_999))
def test_the_newer_timeline_wins_at_the_router(one: int, other: int) -> None:
    """A lower MED and a higher local-preference are preferred (RFC 4271 section
    9.1)."""
    older, newer = sorted((one, other))
    med = [policy.announcement(a_route(), timeline).med for timeline in (older, newer)]
    preference = [
        policy.announcement(
            a_route(FenceAttribute.LOCAL_PREFERENCE, 100), timeline
        ).local_preference
        for timeline in (older, newer)
    ]
    assert None not in med + preference
    assert (med[0] > med[1]) is (older < newer)  # type: ignore[operator]
    assert (preference[0] < preference[1]) is (older < newer)  # type: ignore[operator]


def test_no_fence() -> None:
    """Without a fence a route carries neither attribute."""
    plain = policy.announcement(a_route(FenceAttribute.NONE), 7)
    assert plain == Announcement(PREFIX, None, None, None)


def test_a_fence_without_room_refuses() -> None:
    """Two leaders with MED 0 would share the traffic: better none, and a clear line."""
    assert policy.announcement(a_route(base=1000), 1000).med == 0
    with pytest.raises(FenceExhausted, match="raise 'base' on every member"):
        policy.announcement(a_route(base=1000), 1001)


KEEP, NOTHING, EARNED, LAST_RESORT = "keep", None, 99_993, 100_000
ORDERS: dict[Order, Override] = {
    order: Override(order, "because", "alice") for order in Order
}


@pytest.mark.parametrize(
    ("order", "eligible", "not_eligible", "unknown", "unknown_for_long"),
    [
        (None, EARNED, NOTHING, KEEP, NOTHING),
        (Order.WITHDRAW, NOTHING, NOTHING, NOTHING, NOTHING),
        (Order.ANNOUNCE, EARNED, LAST_RESORT, LAST_RESORT, LAST_RESORT),
        (Order.DRAIN, EARNED, NOTHING, KEEP, NOTHING),
        (Order.HOLD, KEEP, NOTHING, KEEP, NOTHING),
    ],
)
@pytest.mark.parametrize("carried", [True, False])
def test_decide(
    order: Order | None,
    carried: bool,
    eligible: object,
    not_eligible: object,
    unknown: object,
    unknown_for_long: object,
) -> None:
    """An override decides first, and then only an eligible member that carries the VIP
    announces."""
    cases = (
        (ELIGIBLE, False, eligible),
        (NOT_ELIGIBLE, False, not_eligible),
        (UNKNOWN, False, unknown),
        (UNKNOWN, True, unknown_for_long),
    )
    for eligibility, over, expected in cases:
        seen = Observation(eligibility, "so", 7 if eligibility is ELIGIBLE else None)
        override = ORDERS[order] if order else None
        decision = policy.decide(a_route(), seen, override, carried, over)
        found = decision.must.med if decision.must else None
        if not carried and isinstance(expected, int):
            expected = NOTHING
            assert "is on no interface" in decision.reason
        assert (found if decision.acts else KEEP) == expected
        assert decision.reason


def test_a_fence_without_room_withdraws() -> None:
    """With the reason, which is not Patroni's."""
    seen = Observation(ELIGIBLE, "so", 1001)
    decision = policy.decide(a_route(base=1000), seen, None, True)
    assert (decision.acts, decision.must) == (True, None)
    assert "raise 'base'" in decision.reason


@pytest.mark.parametrize("timeline", [1, 7, 90_000])
@pytest.mark.parametrize("attribute", list(FenceAttribute)[:2])
def test_the_last_resort_loses_to_every_leader(
    timeline: int, attribute: FenceAttribute
) -> None:
    """What nobody earns must not take clients from whom Patroni confirms."""
    route = a_route(attribute)
    forced, earned = policy.last_resort(route), policy.announcement(route, timeline)
    assert _preference(earned) > _preference(forced)


def _preference(announcement: Announcement) -> tuple[int, int]:
    """How BGP ranks it: local-preference before MED, RFC 4271 section 9.1."""
    return (announcement.local_preference or 0, -(announcement.med or 0))


@pytest.mark.parametrize(
    ("action", "role", "order", "expected"),
    [
        ("on_start", "primary", Order.WITHDRAW, WITHDRAW),
        ("on_reload", "primary", Order.WITHDRAW, WITHDRAW),
        ("on_stop", "primary", Order.WITHDRAW, WITHDRAW),
        ("on_start", "primary", Order.ANNOUNCE, CONFIRM),
        ("on_stop", "primary", Order.ANNOUNCE, LOOK),
        ("on_role_change", "replica", Order.ANNOUNCE, LOOK),
        ("on_start", "primary", Order.DRAIN, CONFIRM),
        ("on_stop", "primary", Order.DRAIN, WITHDRAW),
        ("on_start", "primary", Order.HOLD, LOOK),
        ("on_stop", "primary", Order.HOLD, WITHDRAW),
    ],
)
def test_hint_with_an_override(
    action: str, role: str, order: Order, expected: Hint
) -> None:
    """A callback obeys a standing order, and waits for nothing that it forbids."""
    callback = Callback(action, role, "main")
    assert policy.hint(callback, a_route(), ORDERS[order]) is expected


WANTED = Announcement(PREFIX, None, med=99_993)
STANDING = RibEntry("10.0.0.1", "10.0.0.11", PREFIX, "10.0.0.11", med=99_993)
OTHER = STANDING._replace(neighbor="10.0.0.2")


def test_an_ipv6_route_with_an_ipv4_next_hop_is_not_announced_as_wanted() -> None:
    """4.2.21 takes `next-hop self` for it on an IPv4 session, and sends nothing."""
    prefix = ipaddress.ip_network("2001:db8::10/128")
    want = {prefix: WANTED._replace(prefix=prefix)}
    have = [STANDING._replace(prefix=prefix, next_hop="self")]
    ((wrong,),) = compare.differences(want, have).values()
    assert "next-hop 10.0.0.11, must be an IPv6 address: set next_hop" in wrong


@pytest.mark.parametrize("next_hop", ["self", "10.9.0.1"])
def test_an_ipv4_route_with_an_ipv6_next_hop_is_not_announced_as_wanted(
    next_hop: str,
) -> None:
    """On an IPv6 session 4.2.21 sends nothing, and later ones name the router-id."""
    local = "2001:db8:9::1"
    have = [STANDING._replace(local=local, next_hop=next_hop)]
    ((wrong,),) = compare.differences({PREFIX: WANTED}, have).values()
    assert "must be an address of your choice: set next_hop" in wrong


@pytest.mark.parametrize(
    ("wanted", "have", "expected"),
    [
        (WANTED, [STANDING], []),
        (WANTED, [STANDING, OTHER], []),
        (WANTED, [STANDING._replace(next_hop="self")], []),  # 4.2.21
        (WANTED, [STANDING._replace(local="auto")], []),
        (WANTED, [], ["192.0.2.10/32 is withdrawn, must be announced"]),
        (
            WANTED,
            [STANDING, OTHER._replace(med=99_994)],
            ["192.0.2.10/32 is announced to 10.0.0.2 with MED 99994, must be 99993"],
        ),
        (
            WANTED,
            [STANDING._replace(next_hop="10.0.0.99")],
            [
                "192.0.2.10/32 is announced to 10.0.0.1 with next-hop 10.0.0.99, must be 10.0.0.11"
            ],
        ),
        (
            WANTED._replace(next_hop=ipaddress.ip_address("10.0.0.99")),
            [STANDING],
            [
                "192.0.2.10/32 is announced to 10.0.0.1 with next-hop 10.0.0.11, must be 10.0.0.99"
            ],
        ),
        (
            WANTED._replace(med=None, local_preference=107),
            [STANDING],
            [
                "192.0.2.10/32 is announced to 10.0.0.1 with MED 99993, must be None",
                "192.0.2.10/32 is announced to 10.0.0.1 with local-preference None, must be 107",
            ],
        ),
        (None, [], []),
        (
            None,
            [STANDING],
            ["192.0.2.10/32 is announced to 10.0.0.1, must be withdrawn"],
        ),
    ],
)
def test_differences(
    wanted: Announcement | None, have: list[RibEntry], expected: list[str]
) -> None:
    """The read-back is the verdict: route, fence and next-hop, for each neighbor."""
    unmanaged = STANDING._replace(prefix=ipaddress.ip_network("198.51.100.0/24"))
    found = compare.differences({PREFIX: wanted}, [unmanaged, *have])
    assert found == ({PREFIX: expected} if expected else {})


@pytest.mark.parametrize(
    ("since_known", "on_unreachable", "expected"),
    [
        (0.0, OnUnreachable.WITHDRAW, False),
        (5.0, OnUnreachable.WITHDRAW, False),
        (5.1, OnUnreachable.WITHDRAW, True),
        (None, OnUnreachable.WITHDRAW, True),  # never, or before the last boot
        (None, OnUnreachable.KEEP, False),
        (1e9, OnUnreachable.KEEP, False),
    ],
)
def test_expired(
    since_known: float | None, on_unreachable: OnUnreachable, expected: bool
) -> None:
    """A Patroni that does not answer loses its routes after the grace."""
    settings = ReconcileSettings(5.0, on_unreachable)
    assert policy.expired(since_known, settings) is expected
