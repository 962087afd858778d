"""The rules of safety, as pure functions: no I/O, no clock, no log.

What a callback hints, what an answer of Patroni says, what must then stand in
Adj-RIB-Out, and whether it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgcast_hooks.errors import FenceExhausted
from pgcast_hooks.model import (
    Announcement,
    Callback,
    Decision,
    Eligibility,
    FenceAttribute,
    Hint,
    Observation,
    OnUnreachable,
    Order,
    Override,
    Prefix,
    ReconcileSettings,
    RestAnswer,
    RibEntry,
    Role,
    Route,
    Want,
)

# Patroni 2.x and 3.x say "master", 4.x "primary", and 3.0.0 says "promoted" in on_role_change.
ROLE_WORDS = {Role.PRIMARY: frozenset({"primary", "master", "promoted"})}
CLUSTER_ROLES = {Role.PRIMARY: "leader"}  # in the members of Patroni's /cluster
STOPPING = frozenset({"on_stop", "before_stop"})
CONFIRMING = frozenset({"on_start", "on_restart", "on_role_change"})
ANSWERS = (200, 503)  # the statuses with which Patroni's role endpoints say yes and no


def hint(callback: Callback, role: Role, override: Override | None = None) -> Hint:
    """What a callback tells of a route that `role` earns.

    An override decides first. The action counts before the role, because on_stop carries
    the role "primary". Words that are not known yet never announce: such a role
    withdraws, and such an action looks at Patroni once.
    """
    if override and override.order is Order.WITHDRAW:
        return Hint.WITHDRAW
    if callback.action in STOPPING or callback.role not in ROLE_WORDS[role]:
        announces = override and override.order is Order.ANNOUNCE
        return Hint.LOOK if announces else Hint.WITHDRAW
    if override and override.order is Order.HOLD:
        return Hint.LOOK
    return Hint.CONFIRM if callback.action in CONFIRMING else Hint.LOOK


def judge(answer: RestAnswer, scope: str, role: Role) -> Observation:
    """Whether an answer of Patroni's REST API earns `role`.

    The status alone is not enough: /primary is 200 from the moment that the leader lock
    is held, while PostgreSQL may still be in recovery, be stopping, or be down.
    """
    body = answer.body
    if (
        answer.status not in ANSWERS
        or body is None
        or not isinstance(body.get("state"), str)
    ):
        return Observation(
            Eligibility.UNKNOWN,
            f"Patroni gave no answer to trust (HTTP {answer.status})",
        )
    state, member = body["state"], str(body.get("role"))
    patroni = body.get("patroni")
    answering = patroni.get("scope") if isinstance(patroni, dict) else None
    if answering != scope:
        return Observation(
            Eligibility.UNKNOWN,
            f"Patroni answers for scope {answering!r}, not {scope!r}",
        )
    timeline = body.get("timeline")
    said = f"Patroni says role {member}, state {state} (HTTP {answer.status})"
    earns = member in ROLE_WORDS[role] and state == "running"
    if answer.status != 200 or not earns:
        return Observation(Eligibility.NOT_ELIGIBLE, said)
    if isinstance(timeline, bool) or not isinstance(timeline, int) or timeline < 1:
        return Observation(Eligibility.UNKNOWN, f"{said}, but no timeline")
    return Observation(
        Eligibility.ELIGIBLE, f"{role.value} on timeline {timeline}", timeline
    )


def announcement(route: Route, timeline: int) -> Announcement:
    """The route with its fence: the newer the timeline, the lower the MED or the higher
    the local-preference.

    Raises FenceExhausted where no MED is left.
    """
    fence = route.fence
    if fence.attribute is FenceAttribute.NONE:
        return Announcement(route.prefix, route.next_hop)
    if fence.attribute is FenceAttribute.LOCAL_PREFERENCE:
        return Announcement(
            route.prefix, route.next_hop, local_preference=fence.base + timeline
        )
    if timeline > fence.base:
        raise FenceExhausted(str(route.prefix), fence.base, timeline)
    return Announcement(route.prefix, route.next_hop, med=fence.base - timeline)


def last_resort(route: Route) -> Announcement:
    """The route with the worst fence there is: what an operator has announced without
    Patroni's word, so that it loses to any leader whom Patroni confirms."""
    return announcement(route, 0)


def decide(
    route: Route,
    observation: Observation,
    override: Override | None,
    carried: bool,
    over: bool = False,
) -> Decision:
    """What becomes of a route.

    `carried`: this host has the VIP on an interface; without it traffic would be
    dropped. `over`: Patroni has been unknown for too long.
    """
    earned = observation.eligibility is Eligibility.ELIGIBLE
    reason = observation.reason
    if override and override.order is Order.WITHDRAW:
        return Decision(True, None, phrase(override))
    if override and override.order is Order.ANNOUNCE:
        reason = f"{phrase(override)}; {reason}"
    elif observation.eligibility is Eligibility.UNKNOWN:
        return Decision(over, None, reason)
    elif not earned:
        return Decision(True, None, reason)
    elif override:
        return Decision(False, None, override.reason)
    if not carried:
        reason = f"{reason}, but {route.vip} is on no interface of this host"
        return Decision(True, None, reason)
    if not earned or observation.timeline is None:
        return Decision(True, last_resort(route), reason)
    try:
        must = announcement(route, observation.timeline)
    except FenceExhausted as error:
        return Decision(True, None, str(error))
    return Decision(True, must, reason)


def phrase(override: Override) -> str:
    """An override in words; without how long is left, which changes all the time."""
    what = "maintenance" if override.whole_host else f"order to {override.order.value}"
    return f"{what} by {override.by}: {override.reason or 'no reason given'}"


def expired(since_known: float | None, settings: ReconcileSettings) -> bool:
    """Whether a Patroni that gives no answer loses its routes.

    `since_known`: seconds since its last known answer, None where there was none.
    """
    if settings.on_unreachable is OnUnreachable.KEEP:
        return False
    return since_known is None or since_known > settings.unreachable_grace


def differences(want: Want, have: Iterable[RibEntry]) -> dict[Prefix, list[str]]:
    """Where Adj-RIB-Out differs from what must be announced, in words, for each prefix
    that differs; an empty answer is the only success.

    A prefix must stand for at least one neighbor, not for each: a neighbor may not
    speak its address family.
    """
    standing: dict[Prefix, list[RibEntry]] = {prefix: [] for prefix in want}
    for entry in have:
        if entry.prefix in standing:
            standing[entry.prefix].append(entry)
    found = {
        prefix: _differences(prefix, wanted, standing[prefix])
        for prefix, wanted in want.items()
    }
    return {prefix: wrong for prefix, wrong in found.items() if wrong}


def _differences(
    prefix: Prefix, wanted: Announcement | None, standing: Sequence[RibEntry]
) -> list[str]:
    if wanted is None:
        return [
            f"{prefix} is announced to {entry.neighbor}, must be withdrawn"
            for entry in standing
        ]
    if not standing:
        return [f"{prefix} is withdrawn, must be announced"]
    return [wrong for entry in standing for wrong in _wrong_attributes(wanted, entry)]


def _wrong_attributes(wanted: Announcement, entry: RibEntry) -> list[str]:
    standing = entry.local if entry.next_hop == "self" else entry.next_hop
    next_hop = str(wanted.next_hop or entry.local)
    if next_hop == "auto":  # ExaBGP names no local address to compare with
        next_hop = standing
    elif entry.prefix.version == 6 and ":" not in next_hop:
        next_hop = "an IPv6 address: set next_hop, the session is an IPv4 one"
    elif entry.prefix.version == 4 and ":" in next_hop:  # ExaBGP takes the router-id
        next_hop = "an address of your choice: set next_hop, the session is an IPv6 one"
    pairs = (
        ("MED", entry.med, wanted.med),
        ("local-preference", entry.local_preference, wanted.local_preference),
        ("next-hop", standing, next_hop),
    )
    return [
        f"{entry.prefix} is announced to {entry.neighbor} with {name} {have}, must be {want}"
        for name, have, want in pairs
        if have != want
    ]
