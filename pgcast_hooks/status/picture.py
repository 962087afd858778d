"""What one look at a host finds, as a tree of records: what was seen, what is wanted, and how
each thing is.

Every source may be missing: a `Silence` stands in its place. Holds no rule, and draws nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

from pgcast_hooks.exabgp import Answer
from pgcast_hooks.model import (
    Announcement,
    LastPass,
    Neighbor,
    Observation,
    Override,
    Prefix,
    Question,
    RibEntry,
    Route,
)
from pgcast_hooks.status.member import Local, Members


class Level(enum.IntEnum):
    """How something is; what is worse is greater."""

    GOOD = 0  # as it must be
    UNKNOWN = 1  # a source does not answer
    WRONG = 2  # something differs from what is wanted


class Must(enum.Enum):
    """What must become of a route."""

    ANNOUNCED = "announced"
    WITHDRAWN = "withdrawn"
    AS_IT_STANDS = "as it stands"


class Silence(NamedTuple):
    """What stands in the place of a source that gave no answer."""

    why: str


class Wanted(NamedTuple):
    """What must stand of a route, and why."""

    must: Must
    announcement: Announcement | None
    why: str
    grace_left: float | None = None  # seconds until it must be withdrawn


Key = tuple[str, Question]


class Seen(NamedTuple):
    """All that was gathered, each source by itself."""

    observations: Mapping[Key, Observation]
    carried: Mapping[Prefix, bool]  # whether the route's VIP is on an interface
    local: Mapping[str, Local | Silence]
    members: Mapping[str, Members | Silence]
    exabgp: Answer | Silence
    since_known: Mapping[Key, float | None]
    overrides: Mapping[Prefix, Override | None]
    last_changes: Mapping[Prefix, Mapping[str, Any] | None]
    reconciler: str | None  # its process; None: none runs
    last_pass: LastPass | None
    troubles: tuple[str, ...]


class RouteStatus(NamedTuple):
    """One route."""

    route: Route
    observation: Observation
    age: float | None  # seconds since an answer was known, 0 for now; None: never
    override: Override | None
    wanted: Wanted
    standing: tuple[RibEntry, ...] | None  # None: ExaBGP does not say
    differences: tuple[str, ...]
    unsent: tuple[str, ...]  # neighbors that it stands for, without a session
    last_change: Mapping[str, Any] | None
    level: Level


class ClusterStatus(NamedTuple):
    """One Patroni cluster as seen from this host."""

    scope: str
    url: str
    local: Local | Silence
    members: Members | Silence
    silences: tuple[str, ...]  # what its Patroni did not say, in words, each once
    routes: tuple[RouteStatus, ...]
    level: Level

    @property
    def lag(self) -> int | None:
        """Bytes that this host's member is behind the leader, where they are known."""
        if isinstance(self.local, Silence) or isinstance(self.members, Silence):
            return None
        for member in self.members.members:
            if member.name == self.local.name:
                return member.lag
        return None


class NeighborStatus(NamedTuple):
    """One BGP session."""

    neighbor: Neighbor
    level: Level


class ReconcilerStatus(NamedTuple):
    """Who repairs what no callback told."""

    process: str | None
    last_pass: LastPass | None
    overdue: bool
    level: Level


class Status(NamedTuple):
    """The whole host; `foreign` is what Adj-RIB-Out holds beside what is configured."""

    name: str
    pipe: str
    exabgp: str | Silence  # its version
    neighbors: tuple[NeighborStatus, ...]
    reconciler: ReconcilerStatus
    maintenance: Override | None
    state_dir: str
    troubles: tuple[str, ...]
    clusters: tuple[ClusterStatus, ...]
    foreign: tuple[RibEntry, ...]

    @property
    def routes(self) -> tuple[RouteStatus, ...]:
        """Of all clusters."""
        return tuple(route for cluster in self.clusters for route in cluster.routes)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Of each thing that has one."""
        return (
            *(route.level for route in self.routes),
            *(cluster.level for cluster in self.clusters),
            *(neighbor.level for neighbor in self.neighbors),
            self.reconciler.level,
            Level.UNKNOWN if isinstance(self.exabgp, Silence) else Level.GOOD,
            *(Level.UNKNOWN for _ in self.troubles),
        )

    @property
    def level(self) -> Level:
        """The worst of all."""
        return max(self.levels)
