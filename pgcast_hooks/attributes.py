"""The part of the configuration that gives a route its BGP attributes. Pure, as
`pgcast_hooks.routes` is, which calls it.

Everything is refused that ExaBGP would not send alike in each version, or not show as it was
given: what cannot be read back cannot be announced.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from pgcast_hooks.document import Reader
from pgcast_hooks.grammar import WELL_KNOWN, in_order
from pgcast_hooks.model import Attributes, Fence, FenceAttribute, Role
from pgcast_hooks.policy import LEADERS, SHARED_MED

LARGEST = (
    2**32 - 1
)  # of MED, LOCAL_PREF (RFC 4271, 4.3 and 5.1) and AS numbers (RFC 6793)
MIN_MED_BASE = 1000
MOST = 32  # values of one list: a command must fit into PIPE_BUF


def attributes(
    reader: Reader, section: Mapping[str, Any], where: str, role: Role, fence: Fence
) -> Attributes:
    med = _number(reader, section, "med", where, 0)
    preference = _number(reader, section, "local_preference", where, 0)
    if role in LEADERS:
        for key, attribute in (
            ("med", FenceAttribute.MED),
            ("local_preference", FenceAttribute.LOCAL_PREFERENCE),
        ):
            if key in section and fence.attribute is attribute:
                text = "is set by the fence: set 'fence' instead"
                reader.wrong(f"{where}.{key}", text)
    elif fence.attribute is FenceAttribute.MED:
        most = fence.base - MIN_MED_BASE
        if (SHARED_MED if med is None else med) > most:
            text = f"must be {most} at most: the fallback's falls from fence.base with the timeline"
            reader.wrong(f"{where}.med", text)
    return Attributes(
        med,
        preference,
        _list(reader, section, "as_path", where, _as_number, "AS number"),
        in_order(_list(reader, section, "communities", where, _community, "community")),
        in_order(
            _list(
                reader, section, "large_communities", where, _large, "large community"
            )
        ),
        in_order(
            _list(
                reader,
                section,
                "extended_communities",
                where,
                _extended,
                "extended community that every ExaBGP sends alike, such as target:65000:100"
                " (AS numbers up to 65535; for others take large_communities)",
            )
        ),
    )


def neighbors(
    reader: Reader, section: Mapping[str, Any], where: str
) -> tuple[str, ...]:
    """The addresses of the neighbors that a route is for, as ExaBGP writes them; (): all."""
    return _list(reader, section, "neighbors", where, _address, "address")


def _number(
    reader: Reader, section: Mapping[str, Any], key: str, where: str, least: int
) -> int | None:
    value = section.get(key)
    if key not in section:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not least <= value <= LARGEST:  # type: ignore[operator]
        text = f"{value!r} is not a whole number from {least} to {LARGEST}"
        reader.wrong(f"{where}.{key}", text)
        return None
    return value


def _list(
    reader: Reader,
    section: Mapping[str, Any],
    key: str,
    where: str,
    parse: Callable[[Any], Any],
    noun: str,
) -> tuple[Any, ...]:
    values = section.get(key, [])
    if not isinstance(values, list) or (key in section and not values):
        reader.wrong(f"{where}.{key}", f"must be a list of at least one {noun}")
        return ()
    if len(values) > MOST:
        reader.wrong(f"{where}.{key}", f"has more than {MOST}")
        return ()
    found = []
    for index, value in enumerate(values):
        try:
            found.append(parse(value))
        except ValueError:
            quotes = "; put it in quotes" if isinstance(value, int) else ""
            text = (
                f"{value!r} is no {noun}{quotes}"  # YAML takes 1:10 for the number 70
            )
            reader.wrong(f"{where}.{key}[{index}]", text)
    return tuple(found)


def _address(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return str(ipaddress.ip_address(value))


def _as_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return _within(value, 1, LARGEST)


def _community(value: Any) -> str:
    """RFC 1997: two numbers of 16 bits, or a well-known name."""
    if value in WELL_KNOWN:
        return WELL_KNOWN[value]
    return _numbers(value, (65535, 65535))


def _large(value: Any) -> str:
    """RFC 8092: three numbers of 32 bits."""
    return _numbers(value, (LARGEST, LARGEST, LARGEST))


def _extended(value: Any) -> str:
    """RFC 4360, two-octet AS: other forms are encoded wrongly by some version of ExaBGP
    (4.2 takes an address for an AS number, 5.0 a large AS number for an address)."""
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in ("target", "origin"):
        raise ValueError
    return f"{kind}:{_numbers(rest, (65535, LARGEST))}"


def _numbers(value: Any, largest: Sequence[int]) -> str:
    """Numbers with colons between them."""
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != len(largest):
        raise ValueError
    checked = [
        _within(int(part) if part.isdecimal() and part.isascii() else -1, 0, most)
        for part, most in zip(parts, largest)
    ]
    return ":".join(map(str, checked))


def _within(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError
    return value


def path_information(
    reader: Reader, section: Mapping[str, Any], where: str
) -> str | None:
    """In the form in which ExaBGP shows it, that of an IPv4 address."""
    number = _number(reader, section, "path_information", where, 1)
    return None if number is None else str(ipaddress.IPv4Address(number))
