"""Whether this host carries an address. A route that leads to a host without it drops
the traffic."""

from __future__ import annotations

import socket

from pgcast_hooks.model import Address


def carried(vip: Address) -> bool:
    """Whether the kernel would deliver packets for `vip` to this host.

    Connecting a datagram socket sends nothing, and to an address of this host the kernel
    connects from that address. This needs no privileges and, unlike binding alone, is not
    fooled by `ip_nonlocal_bind`. For an IPv4 address that is not the first of its subnet the
    kernel would choose the first, unless it is told which to use.
    """
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if vip.version == 4:
                probe.bind((str(vip), 0))
            probe.connect((str(vip), 9))
            return bool(probe.getsockname()[0] == str(vip))
    except OSError:
        return False
