"""The part of the configuration that names clusters and their routes: checked, and every
mistake noted with its key's path. Pure, as `pgcast_hooks.config` is, which calls it."""

from __future__ import annotations

import ipaddress
from typing import Any

from pgcast_hooks.document import Reader
from pgcast_hooks.endpoint import endpoint
from pgcast_hooks.model import (
    Address,
    Cluster,
    Fence,
    FenceAttribute,
    Prefix,
    Role,
    Route,
)

DEFAULT_FENCE_BASE = {
    FenceAttribute.MED: 100_000,
    FenceAttribute.LOCAL_PREFERENCE: 100,
    FenceAttribute.NONE: 0,
}
MAX_BASE = (
    2**32 - 1
)  # MED and LOCAL_PREF are four octets, RFC 4271 sections 4.3 and 5.1
MIN_MED_BASE = 1000


def clusters(reader: Reader, value: Any) -> dict[str, Cluster]:
    """The clusters by their scopes; every mistake is noted with the reader."""
    if not isinstance(value, dict) or not value:
        reader.wrong("clusters", "must name at least one cluster, by its Patroni scope")
        return {}
    taken: dict[Prefix, str] = {}
    found = {}
    for scope, body in value.items():
        where = f"clusters.{scope}"
        if not isinstance(scope, str):
            reader.wrong(
                where, f"the scope must be text: write it in quotes, '{scope}'"
            )
        elif not scope or not scope.isprintable():
            reader.wrong(
                f"clusters.{scope!r}",
                "the scope is empty or has characters that do not print",
            )
        section = reader.mapping(body, where, ("patroni", "routes"))
        asked = endpoint(reader, section.get("patroni"), f"{where}.patroni")
        listed = section.get("routes")
        if not isinstance(listed, list) or not listed:
            reader.wrong(f"{where}.routes", "must be a list of at least one route")
            listed = []
        routes = (
            _route(reader, entry, f"{where}.routes[{index}]", taken)
            for index, entry in enumerate(listed)
        )
        found[str(scope)] = Cluster(
            str(scope), asked, tuple(route for route in routes if route)
        )
    return found


def _route(
    reader: Reader, value: Any, where: str, taken: dict[Prefix, str]
) -> Route | None:
    section = reader.mapping(
        value, where, ("prefix", "role", "vip", "next_hop", "fence")
    )
    role = reader.word(
        section.get("role"), f"{where}.role", [role.value for role in Role]
    )
    fence = _fence(
        reader, section.get("fence", FenceAttribute.MED.value), f"{where}.fence"
    )
    next_hop = section.get("next_hop", "self")
    hop = (
        None
        if next_hop == "self"
        else reader.parsed(
            next_hop, f"{where}.next_hop", ipaddress.ip_address, "address"
        )
    )
    prefix: Prefix | None
    prefix = reader.parsed(
        section.get("prefix"), f"{where}.prefix", ipaddress.ip_network, "prefix"
    )
    if prefix is None:
        return None
    vip: Address | None = prefix.network_address
    if "vip" in section:
        vip = reader.parsed(
            section["vip"], f"{where}.vip", ipaddress.ip_address, "address"
        )
        if vip is not None and vip not in prefix:
            reader.wrong(f"{where}.vip", f"{vip} is not in {prefix}")
    elif prefix.num_addresses > 1:
        reader.wrong(
            f"{where}.vip", f"must name the address of {prefix} that PostgreSQL serves"
        )
    if prefix.prefixlen == 0:
        reader.wrong(f"{where}.prefix", f"{prefix} is the default route, not a service")
    if hop is not None and hop.version != prefix.version:
        reader.wrong(
            f"{where}.next_hop", f"{hop} is not an IPv{prefix.version} address"
        )
    if prefix in taken:
        reader.wrong(f"{where}.prefix", f"{prefix} is already named at {taken[prefix]}")
    taken[prefix] = f"{where}.prefix"
    return Route(prefix, Role(role), vip, hop, fence) if role and vip else None


def _fence(reader: Reader, value: Any, where: str) -> Fence:
    section = reader.mapping(
        {"attribute": value} if isinstance(value, str) else value,
        where,
        ("attribute", "base"),
    )
    word = section.get("attribute", FenceAttribute.MED.value)
    attribute = FenceAttribute(
        reader.word(
            word, f"{where}.attribute", [known.value for known in FenceAttribute]
        )
        or FenceAttribute.NONE.value
    )
    base = section.get("base", DEFAULT_FENCE_BASE[attribute])
    whole = isinstance(base, int) and not isinstance(base, bool)
    if not whole or not 0 <= base <= MAX_BASE:
        reader.wrong(
            f"{where}.base", f"{base!r} is not a whole number from 0 to {MAX_BASE}"
        )
    elif attribute is FenceAttribute.MED and base < MIN_MED_BASE:
        reader.wrong(
            f"{where}.base",
            f"must be at least {MIN_MED_BASE}: the timeline, which each failover"
            " raises, is taken from it",
        )
    return Fence(attribute, base if whole else 0)
