"""Whether this host carries an address, asked of a real kernel."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from pgcast_hooks import vip


@pytest.mark.parametrize("nonlocal_bind", ["0", "1"])
@pytest.mark.parametrize(
    ("address", "carried"),
    [
        ("192.0.2.10", True),
        ("10.8.0.1", True),
        ("10.8.0.2", True),  # secondary: the kernel would choose 10.8.0.1 as the source
        ("10.8.0.3", False),
        ("192.0.2.99", False),
        ("2001:db8::10", True),
        ("2001:db8::11", False),
    ],
)
def test_carried(address: str, carried: bool, nonlocal_bind: str) -> None:
    """Also where ip_nonlocal_bind lets anybody bind anything."""
    for family in ("ipv4", "ipv6"):
        with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "w") as setting:
            setting.write(nonlocal_bind)
    assert vip.carried(ipaddress.ip_address(address)) is carried


def test_a_kernel_without_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """ipv6.disable=1: the address is not carried, and that is all."""

    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    assert vip.carried(ipaddress.ip_address("2001:db8::10")) is False
