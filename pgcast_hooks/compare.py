"""Whether Adj-RIB-Out holds what it must, and in which words it does not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pgcast_hooks.model import Announcement, Neighbor, Prefix, RibEntry, Want


def differences(
    want: Want, have: Iterable[RibEntry], neighbors: Sequence[Neighbor] = ()
) -> dict[Prefix, list[str]]:
    """Where Adj-RIB-Out differs from what must be announced, in words, for each prefix
    that differs; an empty answer is the only success.

    A prefix must stand for each of its neighbors; where it names none, for each of
    `neighbors` whose session carries its address family, and for one at least.
    """
    standing: dict[Prefix, list[RibEntry]] = {prefix: [] for prefix in want}
    for entry in have:
        if entry.prefix in standing:
            standing[entry.prefix].append(entry)
    found = {
        prefix: _differences(
            prefix, wanted, standing[prefix], _carrying(prefix, neighbors)
        )
        for prefix, wanted in want.items()
    }
    return {prefix: wrong for prefix, wrong in found.items() if wrong}


def excess(want: Want, have: Iterable[RibEntry]) -> list[RibEntry]:
    """What stands of managed prefixes beside what must: for a neighbor that the route is not
    meant for, or with another path identifier. No announcement replaces it."""
    return [
        entry
        for entry in have
        if entry.prefix in want and _superfluous(want[entry.prefix], entry)
    ]


def _superfluous(wanted: Announcement | None, entry: RibEntry) -> bool:
    if wanted is None:
        return True
    if entry.path_information != wanted.path_information:
        return True
    return bool(wanted.neighbors) and entry.neighbor not in wanted.neighbors


def _carrying(prefix: Prefix, neighbors: Iterable[Neighbor]) -> list[str]:
    """The neighbors whose session is up and carries the address family of a prefix."""
    family = f"ipv{prefix.version} unicast"
    return [
        neighbor.address
        for neighbor in neighbors
        if neighbor.state == "established" and family in neighbor.families
    ]


def _differences(
    prefix: Prefix,
    wanted: Announcement | None,
    standing: Sequence[RibEntry],
    carrying: Sequence[str],
) -> list[str]:
    extra = [entry for entry in standing if _superfluous(wanted, entry)]
    wrong = [
        f"{prefix}{_path_named(entry)} is announced to {entry.neighbor}, must be withdrawn"
        for entry in extra
    ]
    if wanted is None:
        return wrong
    meant = [entry for entry in standing if entry not in extra]
    if not meant:
        return [f"{prefix} is withdrawn, must be announced", *wrong]
    there = {entry.neighbor for entry in meant}
    meant_for = wanted.neighbors or carrying
    missing = [name for name in meant_for if name not in there]
    wrong += [
        f"{prefix} is not announced to {name}, must be announced" for name in missing
    ]
    return wrong + [
        line for entry in meant for line in _wrong_attributes(wanted, entry)
    ]


def _path_named(entry: RibEntry) -> str:
    if entry.path_information is None:
        return ""
    return f" path-information {entry.path_information}"


def _wrong_attributes(wanted: Announcement, entry: RibEntry) -> list[str]:
    standing = entry.local if entry.next_hop == "self" else entry.next_hop
    next_hop = str(wanted.next_hop or entry.local)
    if next_hop == "auto":  # ExaBGP names no local address to compare with
        next_hop = standing
    elif entry.prefix.version == 6 and ":" not in next_hop:
        next_hop = "an IPv6 address: set next_hop, the session is an IPv4 one"
    elif entry.prefix.version == 4 and ":" in next_hop:  # ExaBGP takes the router-id
        next_hop = "an address of your choice: set next_hop, the session is an IPv6 one"
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("MED", entry.med, wanted.med),
        ("local-preference", entry.local_preference, wanted.local_preference),
        ("next-hop", standing, next_hop),
        ("AS path", entry.as_path, wanted.as_path),
        ("communities", entry.communities, wanted.communities),
        ("large communities", entry.large_communities, wanted.large_communities),
        (
            "extended communities",
            entry.extended_communities,
            wanted.extended_communities,
        ),
    )
    return [
        f"{entry.prefix} is announced to {entry.neighbor} with {name} {_said(have)}, must be {_said(want)}"
        for name, have, want in pairs
        if have != want
    ]


def _said(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return " ".join(map(str, value)) or "none"
