"""`pgcast status --json`: the keys that programs rely on.

Within a version keys are added, but none is taken away or changes its meaning. Times that
have passed are in seconds; moments are UTC, as "2026-11-24T03:12:45Z"; what is not known is
null.
"""

from __future__ import annotations

import time
from typing import Any

from pgcast_hooks.model import Announcement, Override, RibEntry
from pgcast_hooks.status.member import Members
from pgcast_hooks.status.picture import (
    ClusterStatus,
    NeighborStatus,
    ReconcilerStatus,
    RouteStatus,
    Silence,
    Status,
)

JSON_VERSION = 1


def document(status: Status) -> dict[str, Any]:
    """The whole of it."""
    silent = isinstance(status.exabgp, Silence)
    return {
        "version": JSON_VERSION,
        "level": status.level.name.lower(),
        "host": status.name,
        "exabgp": {
            "version": None if isinstance(status.exabgp, Silence) else status.exabgp,
            "pipe": status.pipe,
            "error": status.exabgp.why if isinstance(status.exabgp, Silence) else None,
        },
        "neighbors": None if silent else [_neighbor(n) for n in status.neighbors],
        "reconciler": _reconciler(status.reconciler),
        "maintenance": _override(status.maintenance),
        "state_dir": status.state_dir,
        "troubles": list(status.troubles),
        "clusters": [_cluster(cluster) for cluster in status.clusters],
        "foreign": None if silent else [_entry(entry) for entry in status.foreign],
    }


def _cluster(cluster: ClusterStatus) -> dict[str, Any]:
    local, members = cluster.local, cluster.members
    known = None if isinstance(members, Silence) else members
    return {
        "scope": cluster.scope,
        "level": cluster.level.name.lower(),
        "patroni": {
            "url": cluster.url,
            "errors": list(cluster.silences),
            "member": (
                None
                if isinstance(local, Silence)
                else {**local._asdict(), "lag": cluster.lag}
            ),
        },
        "leader": known and known.leader,
        "pause": known and known.pause,
        "switchover": known and known.switchover,
        "members": known and _members(known),
        "routes": [_route(route) for route in cluster.routes],
    }


def _members(members: Members) -> list[dict[str, Any]]:
    return [member._asdict() for member in members.members]


def _route(route: RouteStatus) -> dict[str, Any]:
    standing = route.standing
    return {
        "prefix": str(route.route.prefix),
        "role": route.route.role.value,
        "level": route.level.name.lower(),
        "observation": {
            "eligibility": route.observation.eligibility.value,
            "reason": route.observation.reason,
            "timeline": route.observation.timeline,
            "age": route.age,
        },
        "override": _override(route.override),
        "wanted": {
            "must": route.wanted.must.value,
            "announcement": _announcement(route.wanted.announcement),
            "why": route.wanted.why,
            "grace_left": route.wanted.grace_left,
        },
        "announced": None if standing is None else bool(standing),
        "adj_rib_out": standing and [_entry(e) for e in standing],
        "unsent": list(route.unsent),
        "differences": list(route.differences),
        "last_change": route.last_change,
    }


def _announcement(announcement: Announcement | None) -> dict[str, Any] | None:
    if announcement is None:
        return None
    told = {**announcement._asdict(), "next_hop": str(announcement.next_hop or "self")}
    del told["prefix"]
    return told


def _entry(entry: RibEntry) -> dict[str, Any]:
    return {**entry._asdict(), "prefix": str(entry.prefix)}


def _neighbor(item: NeighborStatus) -> dict[str, Any]:
    return {**item.neighbor._asdict(), "level": item.level.name.lower()}


def _override(override: Override | None) -> dict[str, Any] | None:
    if override is None:
        return None
    return {
        **override._asdict(),
        "order": override.order.value,
        "since": _moment(override.since) if override.since else None,
        "until": None if override.until is None else _moment(override.until),
    }


def _moment(since_1970: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_1970))


def _reconciler(reconciler: ReconcilerStatus) -> dict[str, Any]:
    last = reconciler.last_pass
    return {
        "process": reconciler.process,
        "level": reconciler.level.name.lower(),
        "last_pass": last
        and {**last._asdict(), "ago": None if last.ago == float("inf") else last.ago},
    }
