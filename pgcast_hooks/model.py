"""The words of Patroni, BGP and pgcast, as types.

Everything here is immutable and knows no rule. The records are ``NamedTuple`` rather
than frozen dataclasses because `dataclasses` imports `inspect`: two thirds of a bare
interpreter's start, paid by every withdrawal.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NamedTuple, Optional, Union

Address = Union[IPv4Address, IPv6Address]
Prefix = Union[IPv4Network, IPv6Network]


class Role(enum.Enum):
    """What a member must be to earn a route, in the words of Patroni's REST endpoints."""

    PRIMARY = "primary"
    STANDBY_LEADER = "standby-leader"
    LEADER = "leader"  # of either kind
    REPLICA = "replica"
    SYNC = "sync"
    QUORUM = "quorum"
    ASYNC = "async"
    READ_ONLY = "read-only"  # replicas, and the leader
    ANY = "any"  # whatever runs


class FenceAttribute(enum.Enum):
    """The BGP attribute that carries the fence: what makes the newest leader win at the
    router."""

    MED = "med"
    LOCAL_PREFERENCE = "local-preference"
    NONE = "none"


class Eligibility(enum.Enum):
    """What one look at Patroni says of one role."""

    ELIGIBLE = "eligible"
    NOT_ELIGIBLE = "not eligible"
    UNKNOWN = "unknown"


class Hint(enum.Enum):
    """What a callback tells of one route: a withdrawal needs no looking, everything
    else does."""

    WITHDRAW = "withdraw"
    LOOK = "look"
    CONFIRM = "confirm"


class Callback(NamedTuple):
    """One invocation by Patroni, in Patroni's own words, which differ between its
    versions."""

    action: str
    role: str
    scope: str


class Fence(NamedTuple):
    """The fence of a route; `base` is the same on every member of a cluster."""

    attribute: FenceAttribute
    base: int


class Limits(NamedTuple):
    """What a replica must be besides one, to earn a route."""

    max_lag: int | None = None  # bytes that it may be behind the leader
    replication_state: str | None = None  # as Patroni says it: "streaming"
    tags: tuple[tuple[str, str], ...] = ()  # that the member must have


class Question(NamedTuple):
    """What Patroni on this host is asked: whether the member has a role, within limits."""

    role: Role
    limits: Limits = Limits()


class Attributes(NamedTuple):
    """BGP attributes that an operator gives a route, but for those of the fence."""

    med: int | None = None
    local_preference: int | None = None
    as_path: tuple[int, ...] = ()  # whole, this host's AS first; (): as ExaBGP makes it
    communities: tuple[str, ...] = ()  # "65000:100", RFC 1997
    large_communities: tuple[str, ...] = ()  # "65000:1:2", RFC 8092
    extended_communities: tuple[str, ...] = ()  # "target:65000:100", RFC 4360


class Route(NamedTuple):
    """A prefix that this host may announce, with the role that earns it."""

    prefix: Prefix
    role: Role
    vip: Address
    next_hop: Address | None  # None: self, the local address of each BGP session
    fence: Fence
    limits: Limits = Limits()
    fallback: Role | None = None  # earns it too, at a MED that is worse
    attributes: Attributes = Attributes()
    neighbors: tuple[str, ...] = ()  # that it is announced to; (): all
    path_information: str | None = None  # the path identifier, RFC 7911: "0.0.0.7"

    @property
    def questions(self) -> tuple[Question, ...]:
        """What Patroni is asked for it: about its role first, then about its fallback."""
        own = Question(self.role, self.limits)
        return (own, Question(self.fallback)) if self.fallback else (own,)


class Announcement(NamedTuple):
    """A route as it must stand in Adj-RIB-Out."""

    prefix: Prefix
    next_hop: Address | None
    med: int | None = None
    local_preference: int | None = None
    as_path: tuple[int, ...] = ()
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    extended_communities: tuple[str, ...] = ()
    neighbors: tuple[str, ...] = ()  # (): all
    path_information: str | None = None


class RibEntry(NamedTuple):
    """A route as ExaBGP says that it stands in Adj-RIB-Out, for one neighbor."""

    neighbor: str
    local: (
        str  # the local address of the session, which is what "next-hop self" becomes
    )
    prefix: Prefix
    next_hop: (
        str  # an address, or "self" where ExaBGP leaves the word unresolved (4.2.21)
    )
    med: int | None = None
    local_preference: int | None = None
    as_path: tuple[int, ...] = ()
    communities: tuple[str, ...] = ()  # numbers, in their order
    large_communities: tuple[str, ...] = ()
    extended_communities: tuple[str, ...] = ()
    path_information: str | None = None


class Neighbor(NamedTuple):
    """A BGP session of ExaBGP's, as it says itself."""

    address: str
    local: str = ""
    state: str = "unknown"  # as in RFC 4271, section 8.2.2: "established", "idle" ...
    seconds: int | None = None  # in this state
    peer_as: int | None = None
    hold_time: int | None = (
        None  # in seconds: what was negotiated, our own without a session
    )
    graceful_restart: bool = False  # negotiated by both sides
    families: tuple[str, ...] = ()  # negotiated by both sides: "ipv4 unicast" ...


class RestAnswer(NamedTuple):
    """An answer of Patroni's REST API; `body` is None when it was not a JSON object."""

    status: int
    body: Mapping[str, Any] | None
    date: str | None = None  # the clock of the host that answered, as RFC 9110 has it


class Observation(NamedTuple):
    """What Patroni says of one role at one moment; `reason` is a phrase for people."""

    eligibility: Eligibility
    reason: str
    timeline: int | None = None
    question: Question = Question(Role.PRIMARY)
    settled: bool = False  # the member is what it was to become, whatever it earns


class Order(enum.Enum):
    """What an override says; `HOLD` is one that cannot be read: nothing is announced anew."""

    ANNOUNCE = "announce"
    WITHDRAW = "withdraw"
    DRAIN = "drain"  # Patroni decides; the routers are asked to prefer others
    HOLD = "hold"


class Override(NamedTuple):
    """An operator's standing order for one route. Times are seconds since 1970."""

    order: Order
    reason: str
    by: str = ""
    since: float = 0.0
    until: float | None = None  # None: until somebody ends it
    left: float | None = (
        None  # seconds until it expires, by a clock that nobody sets back
    )
    whole_host: bool = False  # it is the host's maintenance


class Event(NamedTuple):
    """One line of the history: what became of one route, and why. Tried, not only done."""

    cause: str  # "callback", "reconcile" or "operator"
    trigger: str  # the callback's arguments, or the command: "on_stop primary main"
    scope: str
    prefix: Prefix
    want: str | None  # the command to ExaBGP: "withdraw route 192.0.2.10/32"
    have: str | None  # how Adj-RIB-Out differed; None where nobody looked first
    observation: str | None  # what Patroni, or an override, said; None: nobody asked
    result: str  # "changed", "unchanged", "refused" (Patroni or an override), "failed" (ExaBGP)
    error: str | None
    milliseconds: float  # from the start of the process, or of the pass


class LastPass(NamedTuple):
    """The reconciler's last pass, as the next process finds it."""

    ago: float  # seconds since its end; inf: before this boot
    milliseconds: float
    changed: int
    trouble: tuple[str, ...]
    interval: float | None  # in seconds; None: it was one pass, not a loop


class Decision(NamedTuple):
    """What becomes of one route; `reason` is a phrase for people."""

    acts: bool  # False: what stands, stands
    must: Announcement | None  # what must then be announced; None: nothing
    reason: str


Want = Mapping[Prefix, Optional[Announcement]]
"""What Adj-RIB-Out must hold of each managed prefix; None: nothing."""
