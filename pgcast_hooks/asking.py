"""What Patroni is asked of a role, and what its answers say: pure, as `policy` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgcast_hooks.model import (
    Eligibility,
    Observation,
    Question,
    RestAnswer,
    Role,
    Route,
)
from pgcast_hooks.policy import LEADERS, REPLICA_WORDS, ROLE_WORDS

ANSWERS = (200, 503)  # the statuses with which Patroni's role endpoints say yes and no


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
    if body.get("role") not in REPLICA_WORDS:
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
