"""What the kernel knows of addresses and interfaces, and who answers on the VIP.

Asks `ip` and /proc/sys, and connects to PostgreSQL's port; judges nothing. IPv4's ARP and
reverse-path filter have no like in IPv6, whose addresses belong to one interface.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import subprocess
from collections.abc import Iterable
from typing import Any, NamedTuple

from pgcast_hooks import vip
from pgcast_hooks.model import Address

IP = ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip")
SECONDS = 3.0  # for `ip`, and for PostgreSQL to say a byte
# The protocol's request for TLS, of which PostgreSQL says S or N and logs nothing: see
# "Message Formats", SSLRequest, in PostgreSQL's manual.
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Interface(NamedTuple):
    """An interface, its networks, and the settings that count on it (`all` included)."""

    name: str
    loopback: bool
    addresses: tuple[ipaddress.IPv4Interface, ...]
    arp_ignore: int = 0
    arp_announce: int = 0
    rp_filter: int = 0


class Network(NamedTuple):
    """IPv4 as this host has it; `toward`: address → the interface that leads there."""

    interfaces: tuple[Interface, ...]
    default: frozenset[str]
    toward: dict[str, str]


class Carried(NamedTuple):
    """A VIP: whether this host carries it, and what its port answers (`None`: not asked)."""

    vip: Address
    here: bool
    port: int
    answer: str | None = None


def look(neighbors: Iterable[str]) -> Network | None:
    """The kernel's view; None where `ip` does not tell."""
    addresses = _ip("-4", "address", "show")
    routes = _ip("-4", "route", "show", "default")
    if addresses is None or routes is None:
        return None
    interfaces = []
    for link in addresses:
        name = str(link.get("ifname"))
        found = []
        for one in link.get("addr_info", []):
            with contextlib.suppress(ValueError, KeyError):
                text = f"{one['local']}/{one['prefixlen']}"
                found.append(ipaddress.IPv4Interface(text))
        interfaces.append(
            Interface(
                name,
                link.get("link_type") == "loopback",
                tuple(found),
                _setting(name, "arp_ignore"),
                _setting(name, "arp_announce"),
                _setting(name, "rp_filter"),
            )
        )
    devices = {route.get("dev") for route in routes}
    devices |= {hop.get("dev") for route in routes for hop in route.get("nexthops", [])}
    toward = {}
    for neighbor in neighbors:
        leads = _ip("-4", "route", "get", neighbor) if ":" not in neighbor else None
        for route in leads or []:
            toward[neighbor] = str(route.get("dev"))
    return Network(tuple(interfaces), frozenset(map(str, devices - {None})), toward)


def carried(address: Address, port: int) -> Carried:
    """Whether a VIP is here, and if so what answers on it."""
    if not vip.carried(address):
        return Carried(address, False, port)
    return Carried(address, True, port, _postgresql(str(address), port))


def _postgresql(address: str, port: int) -> str:
    """ "PostgreSQL", or what happened instead."""
    try:
        with socket.create_connection((address, port), SECONDS) as connection:
            connection.settimeout(SECONDS)
            connection.sendall(SSL_REQUEST)
            said = connection.recv(1)
    except socket.timeout:
        return "does not answer"
    except OSError as error:
        return error.strerror or str(error)
    # "E": a server that is full or starting says so at once, as PostgreSQL does.
    return "PostgreSQL" if said in (b"S", b"N", b"E") else "is not PostgreSQL"


def _setting(interface: str, name: str) -> int:
    """The higher of the interface's value and `all`, which is what the kernel goes by."""
    return max(_number(where, name) for where in ("all", interface))


def _number(where: str, name: str) -> int:
    try:
        with open(f"/proc/sys/net/ipv4/conf/{where}/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _ip(*words: str) -> list[dict[str, Any]] | None:
    program = next((path for path in IP if os.access(path, os.X_OK)), "ip")
    try:
        done = subprocess.run(
            [program, "-json", *words],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
        )
        said = json.loads(done.stdout or b"[]") if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return said if isinstance(said, list) else None
