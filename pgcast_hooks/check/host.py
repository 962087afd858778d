"""What this host's network and PostgreSQL must be for an anycast address, judged.

Pure: `pgcast_hooks.check.network` has looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.check.network import Carried, Interface, Network


def judge_carried(found: Carried) -> Finding:
    """Whether the VIP is on this host."""
    address = str(found.vip)
    if found.here:
        return ok("vip.carried", address, "is on this host")
    text = "is on no interface of this host: it is never announced"
    return critical("vip.carried", address, text, f"ip address add {address} dev lo")


def judge_listens(found: Carried) -> list[Finding]:
    """Whether PostgreSQL listens on a VIP that is here."""
    name, where = "postgresql.listens", f"{found.vip}:{found.port}"
    if found.answer is None:
        return []
    if found.answer == "PostgreSQL":
        return [ok(name, where, "PostgreSQL answers")]
    if found.answer == "is not PostgreSQL":
        text = "something answers that is not PostgreSQL"
        return [critical(name, where, text, f"ss -ltnp 'sport = {found.port}'")]
    text = f"PostgreSQL does not answer there: {found.answer}"
    advice = 'set postgresql.listen to "*:PORT" in patroni.yml; patronictl restart'
    return [critical(name, where, text, advice.replace("PORT", str(found.port)))]


def judge_network(vips: Iterable[Carried], network: Network | None) -> list[Finding]:
    """ARP for the VIPs, and the reverse-path filter."""
    if network is None:
        text = "'ip -json' does not tell addresses and routes"
        return [unknown("host.network", "ip", text, "install iproute2")]
    here = [found for found in vips if found.here and found.vip.version == 4]
    return [
        *(_judge_arp(str(found.vip), network.interfaces) for found in here),
        *_judge_rp_filter(network),
    ]


def _judge_arp(vip: str, interfaces: Iterable[Interface]) -> Finding:
    """A VIP within a connected network: Linux answers ARP for it on every server."""
    for interface in interfaces:
        if interface.loopback:
            continue
        networks = [
            one.network
            for one in interface.addresses
            if str(one.ip) != vip and one.network.prefixlen < 31
        ]
        own = any(str(one.ip) == vip for one in interface.addresses)
        wide = any(
            str(one.ip) == vip and one.network.prefixlen < 31
            for one in interface.addresses
        )
        inside = next((n for n in networks if _within(vip, str(n))), None)
        if own and (wide or inside):
            text = f"is on {interface.name}, in a network of it: every server answers ARP for it"
            advice = f"ip address del {vip} dev {interface.name}; ip address add {vip}/32 dev lo"
            return critical("vip.arp", vip, text, advice)
        if inside and (interface.arp_ignore < 1 or interface.arp_announce < 2):
            text = (
                f"lies within {inside} on {interface.name}, where arp_ignore is"
                f" {interface.arp_ignore} and arp_announce {interface.arp_announce}:"
                " every server answers ARP for it"
            )
            where = "net.ipv4.conf.all"
            advice = f"sysctl -w {where}.arp_ignore=1 {where}.arp_announce=2"
            return critical("vip.arp", vip, text, advice)
    return ok("vip.arp", vip, "is answered for on no connected network")


def _within(address: str, network: str) -> bool:
    import ipaddress

    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(network)


def _judge_rp_filter(network: Network) -> list[Finding]:
    """Strict mode drops what comes in where the way back does not go out.

    Clients come in from the router; the way back to them is the default route. Only where the
    two differ can it drop, and only mode 1 does.
    """
    strict = {one.name for one in network.interfaces if one.rp_filter == 1}
    found: Mapping[str, str] = {
        device: neighbor
        for neighbor, device in network.toward.items()
        if device in strict and network.default and device not in network.default
    }
    if not found:
        return [ok("host.rp_filter", "rp_filter", "drops nothing that comes in")]
    return [
        warning(
            "host.rp_filter",
            device,
            f"rp_filter is strict, and the default route is by {', '.join(sorted(network.default))}:"
            f" what clients send by way of {neighbor} is dropped",
            f"sysctl -w net.ipv4.conf.{device}.rp_filter=2",
        )
        for device, neighbor in found.items()
    ]
