"""What the lab can be asked: who leads, where does the router send the VIP.

Every answer is looked up where it is true, at Patroni, at the router or in its kernel. Waits for
conditions, never for time to pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import time
from typing import Any, Callable, TypeVar

from .host import Host, LabError
from .network import MEMBERS, VIP, member_at

POLL = 0.1
"""Seconds between two looks; short enough to wait, long enough not to disturb what is measured."""
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class RouterPath:
    """One of the router's paths to a prefix."""

    member: str
    med: int | None
    local_pref: int | None
    best: bool


@dataclasses.dataclass(frozen=True)
class Member:
    """A member of the cluster as Patroni's /cluster tells it."""

    name: str
    role: str
    state: str
    timeline: int | None


class Questions:
    """The lab as those see it who ask."""

    hosts: dict[str, Host]
    router: Host

    @property
    def members(self) -> list[str]:
        return list(MEMBERS)

    def cluster(self) -> list[Member]:
        """All members, from the first Patroni that answers; none, if none does."""
        for name in MEMBERS:
            with contextlib.suppress(
                OSError, ValueError, http.client.HTTPException, LabError
            ):
                status, body = self.rest(name, "/cluster")
                return [
                    Member(m["name"], m["role"], m["state"], _int(m.get("timeline")))
                    for m in body["members"]
                    if status == 200
                ]
        return []

    def rest(self, name: str, path: str, timeout: float = 1) -> tuple[int, Any]:
        """GET from a member's Patroni, on its own host: status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", 8008, timeout=timeout)
        with contextlib.closing(connection):
            connection.sock = self.hosts[name].connect("127.0.0.1", 8008, timeout)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def leader(self) -> str | None:
        """The name of the leader, if it runs."""
        leaders = [
            m.name
            for m in self.cluster()
            if m.role == "leader" and m.state == "running"
        ]
        return leaders[0] if leaders else None

    def another_leader(self, old: str | None) -> str | None:
        """The name of the leader, if it is not the old one any more."""
        leader = self.leader()
        return leader if leader != old else None

    def replicas(self) -> list[str]:
        """The names of the members that are not the leader."""
        leader = self.leader()
        return [name for name in MEMBERS if name != leader]

    def timeline(self) -> int | None:
        """The leader's timeline."""
        leaders = [m.timeline for m in self.cluster() if m.role == "leader"]
        return leaders[0] if leaders else None

    def next_hops(self, prefix: str = VIP) -> list[str]:
        """The members that the router's kernel sends the prefix to, right now."""
        family = "-6" if ":" in prefix else "-4"
        routes = json.loads(
            self.router.ip(family, "-j", "route", "show", "exact", prefix) or "[]"
        )
        found = []
        for route in routes:
            for hop in route.get("nexthops", [route]):
                found.append(member_at(hop.get("gateway", "")))
        return sorted(found)

    def route(self, prefix: str = VIP) -> str | None:
        """The member that has the route, joined by + if there are several, None if none."""
        return "+".join(self.next_hops(prefix)) or None

    def bird_paths(self, prefix: str = VIP) -> list[RouterPath]:
        """All that the router has heard about the prefix, the best first.

        BIRD says `192.0.2.10/32  unicast [pg1 12:00:00.000] * (100) [AS65001i]` for the best path,
        the same without prefix and star for the others, each followed by its attributes, or
        `Network not found`.
        """
        said = self.router.run(
            ["birdc", "show", "route", "all", "for", prefix], check=False
        ).stdout
        paths = []
        for block in re.split(r"\n(?=\S.*unicast|\s+unicast)", said):
            head = re.search(r"unicast \[(\S+) [^]]*\]( \*)?", block)
            if head:
                numbers = dict(re.findall(r"BGP\.(med|local_pref): (\d+)", block))
                med, preference = (
                    _int(numbers.get("med")),
                    _int(numbers.get("local_pref")),
                )
                paths.append(RouterPath(head[1], med, preference, bool(head[2])))
        return paths

    def established(self) -> list[str]:
        """The members to which the router has a BGP session, which is named like them."""
        said = self.router.run(["birdc", "show", "protocols"], check=False).stdout
        return re.findall(r"(?m)^(\S+)\s+BGP\s.*Established", said)

    def sql(
        self, text: str, member: str | None = None, check: bool = True
    ) -> str | None:
        """Run SQL as the superuser on a member, the leader unless one is named."""
        host = self.hosts[member or self.leader() or self.members[0]]
        argv = [
            "psql",
            "-XqAt",
            "-1",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "postgres",
            "-f",
            "-",
        ]
        done = host.run(argv, user="postgres", check=check, stdin=text)
        return done.stdout.strip() or "done" if done.returncode == 0 else None

    def unhealthy(self) -> str | None:
        """What is not as it should be; None, when all is well."""
        members = self.cluster()
        leader = self.leader()
        states = ", ".join(f"{m.name} {m.role} {m.state} {m.timeline}" for m in members)
        if leader is None:
            return f"no leader: {states}"
        up = [m for m in members if m.state in ("running", "streaming")]
        replicas = [m for m in up if m.role != "leader" and m.state == "streaming"]
        if len(replicas) != len(MEMBERS) - 1 or len({m.timeline for m in up}) != 1:
            return f"members: {states}"
        silent = sorted(set(MEMBERS) - set(self.established()))
        if silent:
            return f"no BGP session to {', '.join(silent)}"
        if self.route() != leader:
            return f"the route is at {self.route()}, the leader is {leader}"
        return None

    def wait_for(
        self,
        condition: Callable[[], T | None],
        timeout: float,
        what: str,
        poll: float = POLL,
    ) -> T:
        """Poll until the condition is true; return what it returned."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise LabError(f"after {timeout} s still no {what}: {self.unhealthy()}")
            time.sleep(poll)

    def wait_healthy(self, timeout: float = 60) -> None:
        """Wait for three members on one timeline and the route at their leader."""
        self.wait_for(lambda: self.unhealthy() is None, timeout, "healthy cluster")

    def wait_route(self, member: str | None, timeout: float = 30) -> None:
        """Wait until the router sends the VIP to this member and to no other."""
        self.wait_for(lambda: self.route() == member, timeout, f"route at {member}")


def _int(value: Any) -> int | None:
    return int(value) if str(value).isdigit() else None
