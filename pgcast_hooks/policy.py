"""The rules of safety, as pure functions: no I/O, no clock, no log.

What a callback hints, what an answer of Patroni says, and what must then stand in
Adj-RIB-Out; whether it does is `compare`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    OnUnreachable,
    Order,
    Override,
    Question,
    ReconcileSettings,
    RestAnswer,
    Role,
    Route,
)

# Patroni 2.x and 3.x say "master", 4.x "primary", and 3.0.0 says "promoted" in on_role_change.
_PRIMARY = frozenset({"primary", "master", "promoted"})
_STANDBY_LEADER = frozenset({"standby_leader"})
_REPLICA = frozenset({"replica"})
_ALL = _PRIMARY | _STANDBY_LEADER | _REPLICA
# The words of callbacks and of REST bodies that a role may be behind.
ROLE_WORDS = {
    Role.PRIMARY: _PRIMARY,
    Role.STANDBY_LEADER: _STANDBY_LEADER,
    Role.LEADER: _PRIMARY | _STANDBY_LEADER,
    Role.REPLICA: _REPLICA,
    Role.SYNC: _REPLICA,
    Role.QUORUM: _REPLICA,
    Role.ASYNC: _REPLICA,
    Role.READ_ONLY: _ALL,
    Role.ANY: _ALL,
}
# One member at a time has these: the newest must win. The others share the traffic.
LEADERS = frozenset({Role.PRIMARY, Role.STANDBY_LEADER, Role.LEADER})
STOPPING = frozenset({"on_stop", "before_stop"})
CONFIRMING = frozenset({"on_start", "on_restart", "on_role_change"})
ANSWERS = (200, 503)  # the statuses with which Patroni's role endpoints say yes and no
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


def path(question: Question) -> str:
    """The path at Patroni's REST API, without the slash before it: "primary",
    "replica?lag=16777216&tag_region=east"."""
    endpoint = "health" if question.role is Role.ANY else question.role.value
    pairs = [(f"tag_{key}", value) for key, value in question.limits.tags]
    if question.limits.max_lag is not None:
        pairs.insert(0, ("lag", str(question.limits.max_lag)))
    if not pairs:
        return endpoint
    from urllib.parse import urlencode  # most questions have none

    return f"{endpoint}?{urlencode(pairs)}"


def judge(answer: RestAnswer, scope: str, question: Question) -> Observation:
    """Whether an answer of Patroni's REST API is a yes to `question`.

    The status alone is not enough: /primary is 200 from the moment that the leader lock
    is held, while PostgreSQL may still be in recovery, be stopping, or be down.
    """

    def seen(
        eligibility: Eligibility,
        reason: str,
        timeline: int | None = None,
        settled: bool = False,
    ) -> Observation:
        return Observation(eligibility, reason, timeline, question, settled)

    body = answer.body
    if (
        answer.status not in ANSWERS
        or body is None
        or not isinstance(body.get("state"), str)
    ):
        why = f"Patroni gave no answer to trust (HTTP {answer.status})"
        return seen(Eligibility.UNKNOWN, why)
    state, member = body["state"], str(body.get("role"))
    patroni = body.get("patroni")
    answering = patroni.get("scope") if isinstance(patroni, dict) else None
    if answering != scope:
        why = f"Patroni answers for scope {answering!r}, not {scope!r}"
        return seen(Eligibility.UNKNOWN, why)
    said = f"Patroni says role {member}, state {state} (HTTP {answer.status})"
    role = question.role
    if member not in ROLE_WORDS[role] or state != "running":
        return seen(Eligibility.NOT_ELIGIBLE, said)
    if answer.status != 200 or _lacks(body, question):
        if role in LEADERS:  # the leader lock may still come
            return seen(Eligibility.NOT_ELIGIBLE, said)
        why = _lacks(body, question) or f"/{path(question)} says no"
        return seen(Eligibility.NOT_ELIGIBLE, f"{said}: {why}", settled=True)
    timeline = body.get("timeline")
    if isinstance(timeline, bool) or not isinstance(timeline, int) or timeline < 1:
        if role in LEADERS:  # the fence needs one
            return seen(Eligibility.UNKNOWN, f"{said}, but no timeline")
        return seen(Eligibility.ELIGIBLE, role.value)
    return seen(Eligibility.ELIGIBLE, f"{role.value} on timeline {timeline}", timeline)


def _lacks(body: Mapping[str, Any], question: Question) -> str | None:
    """What a running member lacks of what is asked for, by the body; None: nothing."""
    if body.get("role") not in _REPLICA:
        return None
    wanted, is_sync, is_quorum = (
        question.limits.replication_state,
        body.get("sync_standby") is True,
        body.get("quorum_standby") is True,
    )
    if wanted is not None and body.get("replication_state") != wanted:
        return f"its replication_state is {body.get('replication_state')}, not {wanted}"
    role = question.role
    if (role is Role.SYNC and not is_sync) or (role is Role.QUORUM and not is_quorum):
        return f"it is no {role.value} standby"
    if role is Role.ASYNC and (is_sync or is_quorum):
        return f"it is a {'sync' if is_sync else 'quorum'} standby"
    return None


def earned(route: Route, seen: Mapping[Question, Observation]) -> Observation:
    """What decides about a route: a yes to one of its questions, the first of them before the
    others; else one whose answer is not known; else the no to the first."""
    answers = [seen[question] for question in route.questions]
    for eligibility in (Eligibility.ELIGIBLE, Eligibility.UNKNOWN):
        for observation in answers:
            if observation.eligibility is eligibility:
                return observation
    return answers[0]


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


def expired(since_known: float | None, settings: ReconcileSettings) -> bool:
    """Whether a Patroni that gives no answer loses its routes.

    `since_known`: seconds since its last known answer, None where there was none.
    """
    if settings.on_unreachable is OnUnreachable.KEEP:
        return False
    return since_known is None or since_known > settings.unreachable_grace
