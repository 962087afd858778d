"""Whether this host carries an address. A route that leads to a host without it drops
the traffic."""

from __future__ import annotations

import socket

from pgcast_hooks.model import Address


def carried(vip: Address) -> bool:
    """Whether the kernel would deliver packets for `vip` to this host.

    Connecting a datagram socket sends nothing, and for an address of this host the
    kernel chooses that address as the source too. This needs no privileges and, unlike
    binding, is not fooled by `ip_nonlocal_bind`.
    """
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(vip), 9))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == str(vip))
