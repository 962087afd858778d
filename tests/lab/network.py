"""The topology: who is connected to whom, and how to disconnect them.

It exists so that a test says `cut("pg1")` and means the cable. All links are made inside the
router's namespace: two labs at once never meet.

            client 10.0.1.2
                │
    router 10.0.1.1, AS 65000, 10.0.0.1
                │ lan 10.0.0.0/24, fd00::/64
    ┌───────┬───┴───┬───────┐
   pg1     pg2     pg3    etcd
   .11     .12     .13     .5
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .host import Host

MEMBERS = {"pg1": "10.0.0.11", "pg2": "10.0.0.12", "pg3": "10.0.0.13"}
LAN = {"router": "10.0.0.1", "etcd": "10.0.0.5", **MEMBERS}
CLIENT = "10.0.1.2"
CLIENT_GATEWAY = "10.0.1.1"
VIP = "192.0.2.10"
VIP6 = "2001:db8::10"
READ_VIP = "192.0.2.20"
READ_VIP6 = "2001:db8::20"
# Nobody's: what is sent to it is dropped without a word, as by a firewall.
NOWHERE = "02:00:00:00:00:01"


def etc_hosts() -> str:
    """The text of /etc/hosts, the same everywhere."""
    rows = [f"{address} {name}" for name, address in {**LAN, "client": CLIENT}.items()]
    rows += [f"{VIP} vip", f"{READ_VIP} read"]
    return "\n".join(["127.0.0.1 localhost", "::1 localhost", *rows, ""])


def lan6(name: str) -> str:
    """The IPv6 address of a host on the LAN."""
    return "fd00::" + LAN[name].rsplit(".", 1)[1]


def member_at(address: str) -> str:
    """The name of the host with this address on the LAN (or the address itself)."""
    names = {**{a: n for n, a in LAN.items()}, **{lan6(n): n for n in LAN}}
    return names.get(address, address)


class Network:
    """Cables between hosts that are up."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self.hosts = hosts
        self.router = hosts["router"]

    def up(self) -> None:
        """Make the router's LAN and connect everybody."""
        self.router.ip("link", "set", "lo", "up")
        self.router.ip("link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
        self.router.ip("link", "set", "lan", "up")
        self._address(self.router, "lan", LAN["router"] + "/24", lan6("router") + "/64")
        self.router.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        self.router.sysctl(
            ipv4__conf__all__send_redirects=0, ipv4__conf__lan__send_redirects=0
        )
        # Readers are spread by their ports; see examples/bird.conf.
        self.router.sysctl(
            ipv4__fib_multipath_hash_policy=1, ipv6__fib_multipath_hash_policy=1
        )
        for name in self.hosts:
            if name != "router":
                self.attach(name)

    def attach(self, name: str) -> None:
        """Connect a host that has just been switched on."""
        host = self.hosts[name]
        self.router.ip("link", "del", name, check=False)
        ends = [name, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid)]
        self.router.ip("link", "add", *ends)
        host.ip("link", "set", "lo", "up")
        host.ip("link", "set", "eth0", "up")
        if name == "client":
            self._address(host, "eth0", CLIENT + "/24")
            self._address(self.router, name, CLIENT_GATEWAY + "/24")
            gateway = CLIENT_GATEWAY
        else:
            self._address(host, "eth0", LAN[name] + "/24", lan6(name) + "/64")
            self.router.ip("link", "set", name, "master", "lan")
            gateway = LAN["router"]
        self.router.ip("link", "set", name, "up")
        host.ip("route", "replace", "default", "via", gateway)
        if name in MEMBERS:
            host.sysctl(ipv4__conf__all__arp_ignore=1, ipv4__conf__all__arp_announce=2)
            host.ip("-6", "route", "replace", "default", "via", lan6("router"))
            self._address(host, "lo", VIP + "/32", VIP6 + "/128")
            self._address(host, "lo", READ_VIP + "/32", READ_VIP6 + "/128")

    def cut(self, name: str) -> None:
        """Pull the cable out of the switch."""
        self.router.ip("link", "set", name, "down")

    def mend(self, name: str) -> None:
        """Put it back."""
        self.router.ip("link", "set", name, "up")

    def partition(self, name: str, others: Iterable[str]) -> None:
        """Drop all that this host and those others send each other; the rest still works."""
        for one, other in self._pairs(name, others):
            for address in (LAN[other], lan6(other)):
                where = [address, "lladdr", NOWHERE, "nud", "permanent", "dev", "eth0"]
                self._port(one, "neigh", "replace", where)

    def heal(self, name: str, others: Iterable[str] | None = None) -> None:
        """End a partition; from everybody, when no others are named."""
        for one, other in self._pairs(name, others or [n for n in LAN if n != name]):
            for address in (LAN[other], lan6(other)):
                self._port(one, "neigh", "del", [address, "dev", "eth0"])

    def _pairs(self, name: str, others: Iterable[str]) -> list[tuple[str, str]]:
        return [pair for other in others for pair in ((name, other), (other, name))]

    def _port(self, name: str, noun: str, verb: str, words: list[str]) -> None:
        host = self.hosts[name]
        if host.running:
            port = "lan" if name == "router" else "eth0"
            host.ip(noun, verb, *words[:-1], port, check=verb != "del")

    @staticmethod
    def _address(host: Host, device: str, *addresses: str) -> None:
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            host.ip("address", "replace", address, "dev", device, *nodad)
