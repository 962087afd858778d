"""The rules of safety, as pure functions: no I/O, no clock, no log.

What a callback hints, and what must stand in Adj-RIB-Out by what `asking` made of Patroni's
answers; whether it does is `compare`'s.
"""

from __future__ import annotations

from pgcast_hooks.errors import FenceExhausted
from pgcast_hooks.grammar import in_order
from pgcast_hooks.model import (
    Announcement,
    Callback,
    Decision,
    Eligibility,
    FenceAttribute,
    Hint,
    Observation,
    Order,
    Override,
    Role,
    Route,
)
from pgcast_hooks.settings import OnUnreachable, ReconcileSettings

# Patroni 2.x and 3.x say "master", 4.x "primary", and 3.0.0 says "promoted" in on_role_change.
_PRIMARY = frozenset({"primary", "master", "promoted"})
_STANDBY_LEADER = frozenset({"standby_leader"})
REPLICA_WORDS = frozenset({"replica"})
_ALL = _PRIMARY | _STANDBY_LEADER | REPLICA_WORDS
# The words of callbacks and of REST bodies that a role may be behind.
ROLE_WORDS = {
    Role.PRIMARY: _PRIMARY,
    Role.STANDBY_LEADER: _STANDBY_LEADER,
    Role.LEADER: _PRIMARY | _STANDBY_LEADER,
    Role.REPLICA: REPLICA_WORDS,
    Role.SYNC: REPLICA_WORDS,
    Role.QUORUM: REPLICA_WORDS,
    Role.ASYNC: REPLICA_WORDS,
    Role.READ_ONLY: _ALL,
    Role.ANY: _ALL,
}
# One member at a time has these: the newest must win. The others share the traffic.
LEADERS = frozenset({Role.PRIMARY, Role.STANDBY_LEADER, Role.LEADER})
STOPPING = frozenset({"on_stop", "before_stop"})
CONFIRMING = frozenset({"on_start", "on_restart", "on_role_change"})
SHARED_MED = 100  # of each member that shares the traffic, where no other is configured
GRACEFUL_SHUTDOWN = "65535:0"  # the community of RFC 8326


def roles(route: Route) -> tuple[Role, ...]:
    """The roles that earn a route."""
    return (route.role, route.fallback) if route.fallback else (route.role,)


def hint(callback: Callback, route: Route, override: Override | None = None) -> Hint:
    """What a callback tells of a route.

    An override decides first. The action counts before the role, because on_stop carries
    the role "primary". Words that are not known yet never announce: such a role
    withdraws, and such an action looks at Patroni once.
    """
    if override and override.order is Order.WITHDRAW:
        return Hint.WITHDRAW
    if callback.action in STOPPING or not expected(callback.role, route):
        announces = override and override.order is Order.ANNOUNCE
        return Hint.LOOK if announces else Hint.WITHDRAW
    if override and override.order is Order.HOLD:
        return Hint.LOOK
    return Hint.CONFIRM if callback.action in CONFIRMING else Hint.LOOK


def expected(word: str, route: Route) -> frozenset[Role]:
    """The roles of a route that a callback's role word may be the beginning of."""
    return frozenset(role for role in roles(route) if word in ROLE_WORDS[role])


def announcement(
    route: Route, timeline: int | None, role: Role | None = None
) -> Announcement:
    """The route as a member that has `role` announces it, without one as its own role does.

    A leader's carries the fence: the newer the timeline, the lower the MED or the higher
    the local-preference. Those who share the traffic carry equal MEDs. Raises FenceExhausted
    where no MED is left.
    """
    given, fence = route.attributes, route.fence
    made = Announcement(
        route.prefix,
        route.next_hop,
        *given,
        neighbors=route.neighbors,
        path_information=route.path_information,
    )
    if (role or route.role) not in LEADERS:
        return made._replace(med=SHARED_MED if given.med is None else given.med)
    if fence.attribute is FenceAttribute.NONE or timeline is None:
        return made
    if fence.attribute is FenceAttribute.LOCAL_PREFERENCE:
        return made._replace(local_preference=fence.base + timeline)
    if timeline > fence.base:
        raise FenceExhausted(str(route.prefix), fence.base, timeline)
    return made._replace(med=fence.base - timeline)


def last_resort(route: Route) -> Announcement:
    """The route with the worst fence there is: what an operator has announced without
    Patroni's word, so that it loses to any member whom Patroni confirms."""
    if route.role in LEADERS:
        return announcement(route, 0)
    return announcement(route, 0)._replace(med=route.fence.base)


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
    if earned and observation.question.role is not route.role:
        reason = f"{reason}, as fallback"
    if override and override.order is Order.WITHDRAW:
        return Decision(True, None, phrase(override))
    drained = override is not None and override.order is Order.DRAIN
    if override and (drained or override.order is Order.ANNOUNCE):
        reason = f"{phrase(override)}; {reason}"
    if override and override.order is Order.ANNOUNCE:
        pass
    elif observation.eligibility is Eligibility.UNKNOWN:
        return Decision(over, None, reason)
    elif not earned:
        return Decision(True, None, reason)
    elif override and not drained:
        return Decision(False, None, override.reason)
    if not carried:
        reason = f"{reason}, but {route.vip} is on no interface of this host"
        return Decision(True, None, reason)
    if not earned:
        return Decision(True, last_resort(route), reason)
    try:
        must = announcement(route, observation.timeline, observation.question.role)
    except FenceExhausted as error:
        return Decision(True, None, str(error))
    return Decision(True, drain(must) if drained else must, reason)


def drain(announced: Announcement) -> Announcement:
    """With the community that asks routers to prefer other paths."""
    communities = {*announced.communities, GRACEFUL_SHUTDOWN}
    return announced._replace(communities=in_order(communities))


def phrase(override: Override) -> str:
    """An override in words; without how long is left, which changes all the time."""
    what = "maintenance" if override.whole_host else f"order to {override.order.value}"
    return f"{what} by {override.by}: {override.reason or 'no reason given'}"


def in_grace(since_known: float | None, settings: ReconcileSettings) -> bool:
    """Whether a Patroni that gives no answer may give one again before it is missed.

    `since_known`: seconds since its last known answer, None where there was none.
    """
    return since_known is not None and since_known <= settings.unreachable_grace


def expired(since_known: float | None, settings: ReconcileSettings) -> bool:
    """Whether a Patroni that gives no answer loses its routes."""
    if settings.on_unreachable is OnUnreachable.KEEP:
        return False
    return not in_grace(since_known, settings)
