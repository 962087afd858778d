"""What Patroni says of its members: the answers to `GET /patroni` and `GET /cluster`.

For people to read; no route follows from it. Patroni's words are kept as they are, as they
differ between its versions, and a field that is missing or of another type is not known. In
short (4.1.5)::

    /patroni {"state": "running", "role": "primary", "timeline": 7, "pause": true,
              "patroni": {"version": "4.1.5", "scope": "main", "name": "pg1"}, ...}
    /cluster {"members": [{"name": "pg1", "role": "leader", "state": "running", "timeline": 7,
                           "host": "10.0.0.11", "port": 5432, ...},
                          {"name": "pg2", "role": "replica", "state": "streaming", "lag": 0,
                           "tags": {"nofailover": true}, ...}],
              "scope": "main", "pause": true,
              "scheduled_switchover": {"at": "2026-11-24T04:00:00+00:00", "from": "pg1"}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pgcast_hooks.model import RestAnswer

LEADERS = frozenset({"leader", "standby_leader", "master", "primary"})


class Local(NamedTuple):
    """The member on this host, as it says itself."""

    name: str | None  # not told by older Patronis
    version: str | None
    role: str
    state: str
    timeline: int | None
    replication: str | None  # "streaming" ...; None for a primary
    pause: bool
    pending_restart: bool
    unlocked: bool  # Patroni knows of no leader
    failsafe: bool


class Member(NamedTuple):
    """A member as the others see it."""

    name: str
    host: str | None
    role: str
    state: str
    timeline: int | None
    lag: int | None  # bytes behind the leader; None for a leader, or not known
    tags: Mapping[str, Any]


class Members(NamedTuple):
    """A cluster as its store has it."""

    members: tuple[Member, ...]
    pause: bool
    switchover: str | None  # when one is scheduled

    @property
    def leader(self) -> str | None:
        """The name of the leader."""
        for member in self.members:
            if member.role in LEADERS:
                return member.name
        return None


def local(answer: RestAnswer) -> Local | None:
    """What the answer to /patroni says; None where it is not one."""
    body = answer.body
    if body is None or not isinstance(body.get("state"), str):
        return None
    patroni = _mapping(body.get("patroni"))
    return Local(
        name=_text(patroni.get("name")),
        version=_text(patroni.get("version")),
        role=_text(body.get("role")) or "unknown",
        state=body["state"],
        timeline=_whole(body.get("timeline")),
        replication=_text(body.get("replication_state")),
        pause=body.get("pause") is True,
        pending_restart=body.get("pending_restart") is True,
        unlocked=body.get("cluster_unlocked") is True,
        failsafe=body.get("failsafe_mode_is_active") is True,
    )


def members(answer: RestAnswer) -> Members | None:
    """What the answer to /cluster says; None where it is not one."""
    body = answer.body
    if (
        answer.status != 200
        or body is None
        or not isinstance(body.get("members"), list)
    ):
        return None
    switchover = _mapping(body.get("scheduled_switchover"))
    return Members(
        members=tuple(
            _member(item) for item in body["members"] if isinstance(item, dict)
        ),
        pause=body.get("pause") is True,
        switchover=_text(switchover.get("at")),
    )


def _member(item: Mapping[str, Any]) -> Member:
    return Member(
        name=_text(item.get("name")) or "unknown",
        host=_text(item.get("host")),
        role=_text(item.get("role")) or "unknown",
        state=_text(item.get("state")) or "unknown",
        timeline=_whole(item.get("timeline")),
        lag=_whole(item.get("lag")),  # "unknown" is a word of Patroni's here
        tags=_mapping(item.get("tags")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
