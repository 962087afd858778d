"""A status as paragraphs: first a verdict for each route, then why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgcast_hooks.cli.drawing_host import host, neighbors, override
from pgcast_hooks.cli.layout import Paragraph, labelled, table
from pgcast_hooks.cli.words import moment, parsed, size, span
from pgcast_hooks.model import Announcement, Eligibility, Order, RibEntry
from pgcast_hooks.status.member import Local, Member, Members
from pgcast_hooks.status.picture import (
    ClusterStatus,
    Level,
    Must,
    RouteStatus,
    Silence,
    Status,
)

WIDE = 55  # columns that prefix and owner may take before the verdict gets its own line
AS_IT_MUST_BE = "as it must be"


def draw(status: Status, members: bool, now: str | None = None) -> list[Paragraph]:
    """The whole of it; with the other `members` of each cluster, and the time `now` in its
    title."""
    drawn = [_title(status, now), _gap(), *_verdicts(status)]
    for cluster in status.clusters:
        drawn += [_gap(), *_cluster(cluster, members)]
    if status.neighbors:
        drawn += [_gap(), *neighbors(status.neighbors)]
    return [*drawn, _gap(), *host(status)]


def _gap() -> Paragraph:
    return Paragraph("", "")


def _title(status: Status, now: str | None) -> Paragraph:
    wrong = status.levels.count(Level.WRONG)
    unknown = status.levels.count(Level.UNKNOWN)
    said = []
    if wrong:
        said.append(f"{wrong} not as it must be")
    if unknown:
        said.append(f"{unknown} not known")
    name = f"{now}  {status.name}" if now else status.name
    text = f"{name}: {', '.join(said) or f'all is {AS_IT_MUST_BE}'}"
    return Paragraph("title", text, status.level, title=True)


def _verdicts(status: Status) -> Iterable[Paragraph]:
    """A line for each route, in columns where they are narrow enough."""
    lines = [
        (route, str(route.route.prefix), f"{cluster.scope} {route.route.role.value}")
        for cluster in status.clusters
        for route in cluster.routes
    ]
    first = max(len(prefix) for _, prefix, _ in lines)
    second = max(len(owner) for _, _, owner in lines)
    for route, prefix, owner in lines:
        subject = f"verdict {prefix}"
        verdict = _verdict(route)
        if first + second > WIDE:
            yield Paragraph(subject, f"{prefix}  {owner}", route.level)
            yield Paragraph(f"{subject} says", verdict, indent=4, hang=2)
        else:
            text = f"{prefix:<{first}}  {owner:<{second}}  {verdict}"
            hang = first + second + 4
            yield Paragraph(subject, text, route.level, hang=hang)


def _verdict(route: RouteStatus) -> str:
    """In words: how the route stands, and how it must be."""
    must = route.wanted.must
    if route.standing is None:
        be = "" if must is Must.AS_IT_STANDS else "must be "
        return f"NOT KNOWN  {be}{_must(route)}"
    stands = _stands(route, route.standing)
    if route.differences:
        loud = _must(route).replace(must.value, must.value.upper(), 1)
        return f"{stands}  MUST BE {loud}"
    if must is Must.AS_IT_STANDS:
        return f"{stands}  {_must(route)}"
    if route.level is Level.WRONG:
        return f"{stands}: {route.wanted.why}" if not route.standing else stands
    if route.override and route.override.order is not Order.HOLD:
        left = route.override.left
        more = "" if left is None else f", {span(left)} left"
        return f"{stands}  as ordered{more}"
    return f"{stands}  {AS_IT_MUST_BE}"


def _stands(route: RouteStatus, standing: Sequence[RibEntry]) -> str:
    """What the routers were told."""
    if not standing:
        return "WITHDRAWN"
    sent = [entry for entry in standing if entry.neighbor not in route.unsent]
    unsent = f"to {', '.join(route.unsent)} (no BGP session)"
    if not sent:
        return f"ANNOUNCED, but NOT YET {unsent}"
    told = f"ANNOUNCED to {_where(sent)}"
    return f"{told}, NOT YET {unsent}" if route.unsent else told


def _must(route: RouteStatus) -> str:
    """What must become of a route, in words."""
    must, announcement = route.wanted.must, route.wanted.announcement
    if must is Must.AS_IT_STANDS:
        left = route.wanted.grace_left
        for_now = "left as it stands"
        return for_now if left is None else f"{for_now} for {span(left)} at most"
    if must is Must.ANNOUNCED and announcement:
        return f"announced{_fence(announcement)}"
    return str(must.value)


def _fence(of: Announcement | RibEntry) -> str:
    said = []
    if of.med is not None:
        said.append(f"MED {of.med}")
    if of.local_preference is not None:
        said.append(f"local-preference {of.local_preference}")
    return f" ({', '.join(said)})" if said else ""


def _where(standing: Sequence[RibEntry]) -> str:
    """The neighbors, those with the same fence together."""
    together: dict[str, list[str]] = {}
    for entry in standing:
        together.setdefault(_fence(entry), []).append(entry.neighbor)
    return ", ".join(f"{', '.join(them)}{fence}" for fence, them in together.items())


def _cluster(cluster: ClusterStatus, members: bool) -> Iterable[Paragraph]:
    subject = f"cluster {cluster.scope}"
    yield Paragraph(subject, f"cluster {cluster.scope}", title=True)
    if not isinstance(cluster.local, Silence):
        text = _local(cluster.local, cluster.lag)
        yield labelled(f"{subject} patroni", "Patroni", text)
    for number, why in enumerate(cluster.silences):
        text = f"{why}{_age(cluster)}" if not number else why
        where = f"{subject} silence {number}"
        yield labelled(where, "no answer", text, Level.UNKNOWN)
    if not isinstance(cluster.members, Silence):
        yield labelled(f"{subject} members", "members", _members(cluster.members))
        if members:
            yield from table(f"{subject} member", _member_rows(cluster.members))
    for route in cluster.routes:
        yield from _route(route)


def _local(local: Local, lag: int | None) -> str:
    said = [local.role, local.state]
    if local.timeline is not None:
        said.append(f"timeline {local.timeline}")
    if local.replication:
        said.append(local.replication)
    if lag is not None:
        said.append(f"lag {size(lag)}")
    flags = {
        "restart pending": local.pending_restart,
        "PAUSED: it fails over by itself no more": local.pause,
        "SEES NO LEADER": local.unlocked,
        "FAILSAFE MODE: its store does not answer": local.failsafe,
    }
    said += [word for word, is_so in flags.items() if is_so]
    return f"{local.name or 'this member'}: {', '.join(said)}; answered now"


def _age(cluster: ClusterStatus) -> str:
    ages = [route.age for route in cluster.routes if route.age]
    if ages:
        return f"; last known {span(max(ages))} ago"
    never = any(route.age is None for route in cluster.routes)
    return "; never known since the host's boot" if never else ""


def _members(members: Members) -> str:
    lags = [member.lag for member in members.members if member.lag is not None]
    leader = f"leader {members.leader}" if members.leader else "NO LEADER"
    text = f"{leader}, of {len(members.members)}"
    if lags:
        text += f"; the furthest behind by {size(max(lags))}"
    if members.pause:
        text += "; PAUSED"
    if members.switchover:
        text += f"; switchover at {members.switchover}"
    return text


def _member_rows(members: Members) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("name", "role", "state", "TL", "lag", "host, tags")]
    return rows + [_member_row(member) for member in members.members]


def _member_row(member: Member) -> tuple[str, ...]:
    tags = [f"{key}: {json.dumps(value)}" for key, value in member.tags.items()]
    return (
        member.name,
        member.role,
        member.state,
        "-" if member.timeline is None else str(member.timeline),
        "-" if member.lag is None else size(member.lag),
        ", ".join([member.host or "-", *tags]),
    )


def _route(route: RouteStatus) -> Iterable[Paragraph]:
    prefix = str(route.route.prefix)
    yield Paragraph(f"route {prefix}", prefix, indent=2)

    def line(label: str, text: str, level: Level | None = None) -> Paragraph:
        return labelled(f"route {prefix} {label}", label, text, level, indent=4)

    yield line("wanted", f"{_must(route)}: {route.wanted.why}")
    known = route.observation.eligibility is not Eligibility.UNKNOWN
    if known and not route.wanted.why.startswith(route.observation.reason):
        yield line("Patroni", route.observation.reason)
    if route.override:
        yield line("override", override(route.override))
    for entry in route.standing or ():
        wrong = [text for text in route.differences if f" {entry.neighbor}" in text]
        text = f"to {entry.neighbor}{_fence(entry)}, next-hop {entry.next_hop}"
        if entry.neighbor in route.unsent:
            text += "; no BGP session"
        level = Level.WRONG if wrong or entry.neighbor in route.unsent else None
        subject = f"route {prefix} stands {entry.neighbor}"
        yield labelled(subject, "stands", text, level, indent=4)
    if route.standing == ():
        level = Level.WRONG if route.differences else None
        yield line("stands", "in Adj-RIB-Out for no neighbor", level)
    if route.last_change:
        yield line("changed", _change(route.last_change))


def _change(event: Mapping[str, Any]) -> str:
    """The last change and its cause, from a line of the history, in which all may be missing."""
    when = parsed(str(event.get("time")))
    text = f"{moment(when)} " if when is not None else ""
    cause = event.get("cause")
    user = event.get("user")
    by = f" by {user}" if cause == "operator" and user else ""
    text += f"{cause}{by}"
    if event.get("trigger") and event.get("trigger") != cause:
        text += f", {event['trigger']}"
    return f"{text}: {event.get('want')}" if event.get("want") else text
