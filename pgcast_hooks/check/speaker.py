"""What ExaBGP's answer says of its version and its sessions, judged.

Pure: `pgcast_hooks.apply.read` has asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.check.member import DEFAULT_TTL
from pgcast_hooks.model import Neighbor, Route
from pgcast_hooks.neighbors import ESTABLISHED

TESTED = "4.2.21, 4.2.25, 5.0.15"
ALL_FAMILIES = {4: "ipv4 unicast", 6: "ipv6 unicast"}


def judge_version(said: str | None) -> list[Finding]:
    """ExaBGP's version: supported, and what is known of it.

    A defect that pgcast works around is told and no warning: Debian 12 has no other version.
    """
    if said is None:
        return [
            unknown(
                "exabgp.version",
                "ExaBGP",
                "does not tell its version",
                "exabgp --version",
            )
        ]
    version = _numbers(said)
    if version >= (5, 1) or not version:
        text = f"{said} is not supported: pgcast knows the commands of 4.2 and 5.0"
        advice = f"install one of {TESTED}"
        return [critical("exabgp.version", "ExaBGP", text, advice)]
    if version < (4, 2, 21):
        text = f"{said} is older than what pgcast is tested with"
        return [warning("exabgp.version", "ExaBGP", text, f"install one of {TESTED}")]
    known = []
    if version < (5,):
        known.append("'flush adj-rib out' ends it while no neighbor is up")
    if version < (4, 2, 22):
        known.append("an IPv6 route needs next_hop on an IPv4 session")
    if version < (5, 0, 12):
        known.append("answers that nobody reads fill its memory")
    text = "; known of it: ".join([said, ", ".join(known)] if known else [said])
    return [ok("exabgp.version", "ExaBGP", text)]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def judge_sessions(
    neighbors: Sequence[Neighbor], ttl: float | None = None
) -> list[Finding]:
    """Each session; one that is down says nothing of what would be negotiated.

    `ttl` is Patroni's, in seconds: in that time another member may lead, and a router that
    keeps a dead host's route for longer sends clients nowhere.
    """
    if not neighbors:
        text = "has no neighbor: nothing is announced to anybody"
        advice = "write a neighbor into exabgp.conf (examples/exabgp.conf)"
        return [critical("exabgp.session", "ExaBGP", text, advice)]
    found = []
    up = [neighbor for neighbor in neighbors if neighbor.state == ESTABLISHED]
    for neighbor in neighbors:
        if neighbor not in up:
            text = f"the session is {neighbor.state}, not established"
            advice = "look at both ends: exabgpcli show neighbor summary; birdc show protocols all"
            level = warning if up else critical  # another router still has the route
            found.append(level("exabgp.session", neighbor.address, text, advice))
            continue
        found.append(ok("exabgp.session", neighbor.address, "established"))
        found += _judge_hold_time(neighbor, ttl or DEFAULT_TTL)
        if neighbor.graceful_restart:
            text = "graceful-restart is negotiated: the router keeps the routes of an ExaBGP that is gone"
            advice = "take graceful-restart out of exabgp.conf, or off at the router"
            name = "exabgp.graceful_restart"
            found.append(critical(name, neighbor.address, text, advice))
        else:
            name = "exabgp.graceful_restart"
            found.append(ok(name, neighbor.address, "off"))
    return found


def _judge_hold_time(neighbor: Neighbor, limit: float) -> list[Finding]:
    name, seconds = "exabgp.hold_time", neighbor.hold_time
    advice = "set hold-time 6 in exabgp.conf, or hold time 6 at the router"
    if seconds is None:
        return [unknown(name, neighbor.address, "is not told", advice)]
    if seconds == 0:
        text = "is 0: a host that dies silently keeps its routes for ever"
        return [critical(name, neighbor.address, text, advice)]
    if seconds > limit:
        text = (
            f"is {seconds} s: a host that dies silently keeps its routes for that long,"
            f" and another member may lead after {limit:g} s"
        )
        return [warning(name, neighbor.address, text, advice)]
    return [ok(name, neighbor.address, f"{seconds} s")]


def judge_families(
    neighbors: Iterable[Neighbor], routes: Iterable[Route]
) -> list[Finding]:
    """Whether some session carries each route. Silent while none is up."""
    up = [neighbor for neighbor in neighbors if neighbor.state == ESTABLISHED]
    found = []
    for route in routes:
        prefix, family = str(route.prefix), ALL_FAMILIES[route.prefix.version]
        carrying = [neighbor for neighbor in up if family in neighbor.families]
        if up and not carrying:
            text = f"no session carries {family}: it can be announced to nobody"
            advice = f"write {family} into the neighbor's family in exabgp.conf, and at the router"
            found.append(critical("exabgp.family", prefix, text, advice))
        elif carrying and not route.next_hop:
            mine = route.prefix.version
            theirs = {6 if ":" in neighbor.local else 4 for neighbor in carrying}
            if mine not in theirs:
                text = f"has next_hop self, which is an IPv{10 - mine} address on every session: it cannot be announced"
                advice = f"set next_hop to an IPv{mine} address of this host"
                found.append(critical("exabgp.next_hop", prefix, text, advice))
    return found
