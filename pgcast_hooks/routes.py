"""The part of the configuration that describes one route: checked, and every mistake noted
with its key's path. Pure, as `pgcast_hooks.clusters` is, which calls it.

In full; a plain route has prefix and role only::

    prefix: 192.0.2.20/32
    role: replica              # a role of Patroni's REST API, or any
    fallback: primary          # earns it too, at a MED that is worse
    max_lag: 16MB              # of a replica, behind the leader
    replication_state: streaming
    tags: {region: east}       # that the member must have
    vip: 192.0.2.20            # default: the prefix's only address
    next_hop: self             # or an address
    fence: med                 # of a leader: or local-preference, none, or a mapping: attribute, base
    med: 100                   # where the fence does not set it
    local_preference: 200
    as_path: [65001, 65001]    # whole, this host's own AS first
    communities: ["65000:100", no-export]
    large_communities: ["65000:1:2"]
    extended_communities: ["target:65000:100"]
    neighbors: [10.0.0.1]      # default: all
    path_information: 7        # the path identifier, for sessions with ADD-PATH
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from pgcast_hooks.attributes import (
    LARGEST,
    MIN_MED_BASE,
    attributes,
    neighbors,
    path_information,
)
from pgcast_hooks.document import Reader
from pgcast_hooks.model import (
    Address,
    Fence,
    FenceAttribute,
    Limits,
    Prefix,
    Role,
    Route,
)
from pgcast_hooks.policy import LEADERS, SHARED_MED

KEYS = (
    *("prefix", "role", "fallback", "max_lag", "replication_state", "tags", "vip"),
    *("next_hop", "fence", "med", "local_preference", "as_path", "communities"),
    *("large_communities", "extended_communities", "neighbors", "path_information"),
)
DEFAULT_FENCE_BASE = {
    FenceAttribute.MED: 100_000,
    FenceAttribute.LOCAL_PREFERENCE: 100,
    FenceAttribute.NONE: 0,
}
LIMITED = frozenset({Role.REPLICA, Role.SYNC, Role.QUORUM, Role.ASYNC, Role.READ_ONLY})
FALLING_BACK = LIMITED - {Role.READ_ONLY}
SIZES = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
LONGEST = 100  # letters of a tag, or of its value


def route(
    reader: Reader, value: Any, where: str, taken: dict[Prefix, str]
) -> Route | None:
    """A route, None where its mistakes leave none; `taken` are the prefixes so far."""
    section = reader.mapping(value, where, KEYS)
    word = reader.word(section.get("role"), f"{where}.role", [r.value for r in Role])
    prefix: Prefix | None = reader.parsed(
        section.get("prefix"), f"{where}.prefix", ipaddress.ip_network, "prefix"
    )
    if prefix is not None:
        if prefix.prefixlen == 0:
            text = f"{prefix} is the default route, not a service"
            reader.wrong(f"{where}.prefix", text)
        if prefix in taken:
            text = f"{prefix} is already named at {taken[prefix]}"
            reader.wrong(f"{where}.prefix", text)
        taken[prefix] = f"{where}.prefix"
    role = Role(word) if word else Role.PRIMARY
    fallback = _fallback(reader, section, where, role)
    fence = _fence(reader, section, where, role, fallback)
    read = Route(
        prefix=prefix or ipaddress.ip_network("0.0.0.0/32"),
        role=role,
        vip=ipaddress.ip_address("0.0.0.0"),
        next_hop=_next_hop(reader, section, where, prefix),
        fence=fence,
        limits=_limits(reader, section, where, role),
        fallback=fallback,
        attributes=attributes(reader, section, where, role, fence),
        neighbors=neighbors(reader, section, where),
        path_information=path_information(reader, section, where),
    )
    if prefix is None:
        return None
    vip = _vip(reader, section, where, prefix)
    return read._replace(vip=vip) if word and vip else None


def _vip(
    reader: Reader, section: Mapping[str, Any], where: str, prefix: Prefix
) -> Address | None:
    if "vip" in section:
        vip: Address | None = reader.parsed(
            section["vip"], f"{where}.vip", ipaddress.ip_address, "address"
        )
        if vip is not None and vip not in prefix:
            reader.wrong(f"{where}.vip", f"{vip} is not in {prefix}")
        return vip
    if prefix.num_addresses > 1:
        text = f"must name the address of {prefix} that PostgreSQL serves"
        reader.wrong(f"{where}.vip", text)
    return prefix.network_address


def _next_hop(
    reader: Reader, section: Mapping[str, Any], where: str, prefix: Prefix | None
) -> Address | None:
    given = section.get("next_hop", "self")
    if given == "self":
        return None
    hop: Address | None = reader.parsed(
        given, f"{where}.next_hop", ipaddress.ip_address, "address"
    )
    if hop is not None and prefix is not None and hop.version != prefix.version:
        reader.wrong(
            f"{where}.next_hop", f"{hop} is not an IPv{prefix.version} address"
        )
    return hop


def _fallback(
    reader: Reader, section: Mapping[str, Any], where: str, role: Role
) -> Role | None:
    if "fallback" not in section:
        return None
    where = f"{where}.fallback"
    leaders = [known.value for known in Role if known in LEADERS]
    word = reader.word(section["fallback"], where, leaders)
    if role not in FALLING_BACK:
        reader.wrong(where, f"role {role.value} has none: it is for replicas")
    return Role(word) if word else None


def _limits(
    reader: Reader, section: Mapping[str, Any], where: str, role: Role
) -> Limits:
    for key in ("max_lag", "replication_state", "tags"):
        if key in section and role not in LIMITED:
            text = f"role {role.value} has none: it is for replicas"
            reader.wrong(f"{where}.{key}", text)
    state = section.get("replication_state")
    if "replication_state" in section and not (isinstance(state, str) and state):
        text = f"{state!r} is not a word of Patroni's, such as streaming"
        reader.wrong(f"{where}.replication_state", text)
    return Limits(
        _size(reader, section, f"{where}.max_lag"),
        state if isinstance(state, str) else None,
        _tags(reader, section.get("tags", {}), f"{where}.tags"),
    )


def _size(reader: Reader, section: Mapping[str, Any], where: str) -> int | None:
    """Bytes out of what Patroni takes too: 1048576, 16MB. It takes what it cannot read for no
    limit at all."""
    given = section.get("max_lag")
    if "max_lag" not in section:
        return None
    match = re.fullmatch(r"(\d{1,15}) ?([kKMGT]?B)?", str(given))
    if match is None or isinstance(given, bool):
        reader.wrong(where, f"{given!r} is not a size such as 16MB or 1048576 (bytes)")
        return None
    return int(match[1]) * SIZES[(match[2] or "").upper()]


def _tags(reader: Reader, value: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        reader.wrong(where, "must be a mapping of Patroni's tags, such as region: east")
        return ()
    found = []
    for key, wanted in value.items():
        text = str(wanted).lower() if isinstance(wanted, (bool, int)) else wanted
        if not isinstance(key, str) or not isinstance(text, str):
            reader.wrong(f"{where}.{key}", f"{wanted!r} is not a word or a number")
        elif not 0 < len(key) <= LONGEST or len(text) > LONGEST:
            reader.wrong(f"{where}.{key}", f"is longer than {LONGEST} letters")
        else:
            found.append((key, text))
    return tuple(sorted(found))


def _fence(
    reader: Reader,
    section: Mapping[str, Any],
    where: str,
    role: Role,
    fallback: Role | None,
) -> Fence:
    where = f"{where}.fence"
    given = section.get("fence", FenceAttribute.MED.value)
    value = {"attribute": given} if isinstance(given, str) else given
    part = reader.mapping(value, where, ("attribute", "base"))
    words = [known.value for known in FenceAttribute]
    word = part.get("attribute", FenceAttribute.MED.value)
    known = reader.word(word, f"{where}.attribute", words)
    attribute = FenceAttribute(known or FenceAttribute.NONE.value)
    base = part.get("base", DEFAULT_FENCE_BASE[attribute])
    whole = isinstance(base, int) and not isinstance(base, bool)
    if not whole or not 0 <= base <= LARGEST:
        text = f"{base!r} is not a whole number from 0 to {LARGEST}"
        reader.wrong(f"{where}.base", text)
    elif attribute is FenceAttribute.MED and base < MIN_MED_BASE:
        reader.wrong(
            f"{where}.base",
            f"must be at least {MIN_MED_BASE}: the timeline, which each failover"
            " raises, is taken from it",
        )
    if role not in LEADERS and "fence" in section:
        if fallback is None:
            reader.wrong(
                where, f"role {role.value} has none: its members share the traffic"
            )
        elif known and attribute is not FenceAttribute.MED:
            reader.wrong(
                where,
                f"must be med: by it a replica's wins over its fallback {fallback.value}'s",
            )
    return Fence(attribute, base if whole else 0)


def effective(route: Route) -> dict[str, Any]:
    """The route as a document that `route` takes back, every default written out."""
    limits, given = route.limits, route.attributes
    fenced = route.role in LEADERS or route.fallback is not None
    path = route.path_information
    med = given.med
    if med is None and route.role not in LEADERS:
        med = SHARED_MED
    told: dict[str, Any] = {
        "prefix": str(route.prefix),
        "role": route.role.value,
        "fallback": route.fallback.value if route.fallback else None,
        "max_lag": limits.max_lag,
        "replication_state": limits.replication_state,
        "tags": dict(limits.tags),
        "vip": str(route.vip),
        "next_hop": str(route.next_hop or "self"),
        "fence": None,
        "med": med,
        "local_preference": given.local_preference,
        "as_path": list(given.as_path),
        "communities": list(given.communities),
        "large_communities": list(given.large_communities),
        "extended_communities": list(given.extended_communities),
        "neighbors": list(route.neighbors),
        "path_information": path and int(ipaddress.IPv4Address(path)),
    }
    if fenced:
        fence = route.fence
        told["fence"] = {"attribute": fence.attribute.value, "base": fence.base}
    return {key: value for key, value in told.items() if value not in (None, [], {})}
