"""What a route is in the words of ExaBGP: the commands that announce and withdraw it, and its
line in the answer to `show adj-rib out extensive`.

The words are the same in 4.2.21, 4.2.25 and 5.0.15, but for the literal `next-hop self` and the
brackets of an AS path, which are round in 5.0 (one line; what is not set is not there)::

    > announce route 192.0.2.20/32 next-hop self med 100 community [ 65000:100 65535:65281 ]
    < neighbor 10.0.0.1 local-ip 10.0.0.11 local-as 65001 peer-as 65000 router-id 10.0.0.11
      family-allowed in-open ipv4 unicast 192.0.2.20/32 path-information 0.0.0.7
      next-hop 10.0.0.11 as-path [ 65001 65001 ] med 100 local-preference 200
      community [ 65000:100 no-export ] extended-community target:65000:100
      large-community [ 65000:1:2 ]

A list of one stands without its brackets. Well-known communities are shown by their names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from pgcast_hooks.errors import UnexpectedAnswer
from pgcast_hooks.model import Announcement, Prefix, RibEntry

WELL_KNOWN = {  # IANA's registry of well-known communities, in ExaBGP's spelling
    "blackhole": "65535:666",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "no-peer": "65535:65284",
}
_LISTS = {  # ExaBGP's word to the field of Announcement and RibEntry
    "as-path": "as_path",
    "community": "communities",
    "large-community": "large_communities",
    "extended-community": "extended_communities",
}

_ROUTE = re.compile(
    r"neighbor (?P<neighbor>\S+) (?:.* )?local-ip (?P<local>\S+) .*? (?P<family>ipv[46] unicast) (?P<prefix>\S+)"
    r"(?P<attributes>(?: .*)?)$"
)
_ATTRIBUTE = re.compile(
    r"(?<= )(path-information|next-hop|med|local-preference|as-path"
    r"|community|large-community|extended-community)"
    r" (?:[\[(] ([^\])]*) [\])]|([^\s\[(]\S*))"
)

_DOTTED = re.compile(r"(?<=\d):(\d+\.\d+\.\d+\.\d+)(?!\S)")


def announce(route: Announcement) -> list[str]:
    """The commands that announce a route: one, or one for each neighbor that it is meant
    for."""
    words = ["announce route", str(route.prefix)]
    if route.path_information is not None:
        words.append(f"path-information {route.path_information}")
    words.append(f"next-hop {route.next_hop or 'self'}")
    if route.med is not None:
        words.append(f"med {route.med}")
    if route.local_preference is not None:
        words.append(f"local-preference {route.local_preference}")
    for word, field in _LISTS.items():
        values = getattr(route, field)
        if values:
            words.append(f"{word} [ {' '.join(map(str, values))} ]")
    command = " ".join(words)
    return [f"neighbor {name} {command}" for name in route.neighbors] or [command]


def withdraw(prefix: Prefix, path_information: str | None = None) -> str:
    """The command that withdraws a prefix from every neighbor; one that was announced with a
    path identifier needs it."""
    if path_information is None:
        return f"withdraw route {prefix}"
    return f"withdraw route {prefix} path-information {path_information}"


def withdraw_entry(entry: RibEntry) -> str:
    """The command that withdraws what stands for one neighbor, and nothing else."""
    command = withdraw(entry.prefix, entry.path_information)
    return f"neighbor {entry.neighbor} {command}"


def route(line: str) -> RibEntry | None:
    """A unicast route out of a line of `show adj-rib out extensive`; None for other
    lines and families.

    Raises UnexpectedAnswer for a unicast route that it cannot read.
    """
    match = _ROUTE.match(line)
    if match is None:
        if line.startswith("neighbor ") and (
            " ipv4 unicast " in line or " ipv6 unicast " in line
        ):
            raise UnexpectedAnswer(line)
        return None
    found = {
        name: several or one or ""
        for name, several, one in _ATTRIBUTE.findall(match["attributes"])
    }
    try:
        return RibEntry(
            neighbor=match["neighbor"],
            local=match["local"],
            prefix=ipaddress.ip_network(match["prefix"]),
            next_hop=found["next-hop"],
            med=_number(found.get("med")),
            local_preference=_number(found.get("local-preference")),
            as_path=tuple(map(int, re.findall(r"\d+", found.get("as-path", "")))),
            communities=_sorted(found.get("community")),
            large_communities=_sorted(found.get("large-community")),
            extended_communities=(
                _sorted(_DOTTED.sub(_plain, found["extended-community"]))
                if "extended-community" in found
                else ()
            ),
            path_information=found.get("path-information"),
        )
    except (KeyError, ValueError) as error:
        raise UnexpectedAnswer(line) from error


def _plain(dotted: re.Match[str]) -> str:
    """The number that 4.2 writes as an address, in `origin:65000:0.0.0.5`."""
    return f":{int(ipaddress.IPv4Address(dotted[1]))}"


def in_order(communities: Iterable[str]) -> tuple[str, ...]:
    """Communities of one kind in the order of their numbers, each once."""
    return tuple(sorted(set(communities), key=_key))


def _key(community: str) -> tuple[str, ...]:
    return tuple(part.rjust(10, "0") for part in community.split(":"))


def _number(said: str | None) -> int | None:
    return None if said is None else int(said)


def _sorted(said: str | None) -> tuple[str, ...]:
    if not said:
        return ()
    return in_order(WELL_KNOWN.get(word, word) for word in said.split())
