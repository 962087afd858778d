"""Who watches while a test does its worst: at the router and at the members; `traffic` has the clients.

It exists because an outage is a difference between two moments, and moments that are polled for
are wrong by the polling interval. All clocks are the machine's (seconds since the epoch).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import subprocess
import threading
import time
from typing import Any

import psycopg

from .host import BOUND, PATH, LabError, in_thread
from .lab import Lab
from .network import MEMBERS, VIP, member_at
from .services import app_dsn


class Watch:
    """Something that watches from `start` to `stop`, or inside a `with`."""

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self: Any) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def end(process: subprocess.Popen[str], reader: threading.Thread) -> None:
    """End a process and the thread that reads what it says."""
    process.terminate()
    process.wait(5)
    reader.join(5)
    if process.stdout is not None:
        process.stdout.close()


@dataclasses.dataclass(frozen=True)
class RouteChange:
    """From `time` on the router's kernel sent the prefix to `member` (a+b: both; None: nobody)."""

    time: float
    member: str | None


class RouteWatch(Watch):
    """Every change of the VIP's route in the router's kernel, as the kernel reports it."""

    def __init__(self, lab: Lab, prefix: str = VIP) -> None:
        self.lab = lab
        self.prefix = prefix
        self.changes: list[RouteChange] = []

    def start(self) -> None:
        family = "-6" if ":" in self.prefix else "-4"
        self._process = subprocess.Popen(
            [*self.lab.router.in_network(), *BOUND]
            + ["ip", family, "-o", "-ts", "monitor", "route"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={"PATH": PATH, "TZ": "UTC"},
            text=True,
        )
        self._wait_until_it_listens()
        self.changes.append(RouteChange(time.time(), self.lab.route(self.prefix)))
        self._thread = in_thread(self._read)

    def _wait_until_it_listens(self) -> None:
        """Make a change that means nothing until it is reported."""
        assert self._process.stdout is not None
        seen = threading.Event()

        def wait_for_mark() -> None:
            assert self._process.stdout is not None
            if self._process.stdout.readline():
                seen.set()

        thread = in_thread(wait_for_mark)
        mark = [
            "fd00:dead::/64" if ":" in self.prefix else "198.51.100.0/24",
            "dev",
            "lo",
        ]
        deadline = time.monotonic() + 5
        while not seen.wait(0.02):
            self.lab.router.ip("route", "replace", "blackhole", mark[0])
            self.lab.router.ip("route", "del", "blackhole", mark[0])
            if time.monotonic() > deadline:
                raise LabError("ip monitor reports nothing")
        thread.join()

    def stop(self) -> None:
        end(self._process, self._thread)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            change = parse_route_change(line, self.prefix)
            if change is not None and change.member != self.changes[-1].member:
                self.changes.append(change)

    def since(self, moment: float) -> list[RouteChange]:
        """The changes after a moment."""
        return [change for change in self.changes if change.time >= moment]

    def arrival(self, member: str, since: float) -> float | None:
        """When the route first came to this member alone; None if it did not stay."""
        changes = self.since(since)
        if not changes or changes[-1].member != member:
            return None
        return next(change.time for change in changes if change.member == member)


def parse_route_change(line: str, prefix: str = VIP) -> RouteChange | None:
    """`[2026-01-02T03:04:05.678901] 192.0.2.10 via 10.0.0.11 dev lan proto bird metric 32`, with
    `Deleted` before the prefix for a route that is gone, with several `nexthop via` for many.
    """
    match = re.match(r"\[([^]]+)\] (Deleted )?(?:unicast )?(\S+) (.*)", line)
    if match is None or match[3] not in (prefix, prefix + "/32", prefix + "/128"):
        return None
    moment = datetime.datetime.fromisoformat(match[1]).replace(
        tzinfo=datetime.timezone.utc
    )
    members = sorted(
        member_at(a) for a in re.findall(r"via (?:inet6 )?(\S+)", match[4])
    )
    gone = match[2] is not None
    return RouteChange(moment.timestamp(), None if gone else "+".join(members) or None)


class PrimaryWatch(Watch):
    """When each member became writable by itself, asked every 10 ms on its own host."""

    def __init__(self, lab: Lab, interval: float = 0.01) -> None:
        self.lab = lab
        self.interval = interval
        self.changes: dict[str, list[tuple[float, bool]]] = {
            name: [] for name in MEMBERS
        }
        self._ending = threading.Event()

    def start(self) -> None:
        self._threads = [in_thread(self._watch, name) for name in MEMBERS]

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(5)

    def writable(self, member: str, since: float) -> float | None:
        """When the member first turned writable after a moment."""
        return next(
            (t for t, yes in list(self.changes[member]) if yes and t >= since), None
        )

    def _watch(self, name: str) -> None:
        dsn = app_dsn(MEMBERS[name]) + " connect_timeout=2"
        while not self._ending.wait(self.interval):
            host = self.lab.hosts[name]
            with (
                contextlib.suppress(LabError, OSError, psycopg.Error),
                host.network(),
                psycopg.connect(dsn, autocommit=True) as connection,
            ):
                while not self._ending.wait(self.interval):
                    row = connection.execute(
                        "SELECT NOT pg_is_in_recovery()"
                    ).fetchone()
                    self._note(name, bool(row and row[0]))
            self._note(name, False)

    def _note(self, name: str, writable: bool) -> None:
        seen = self.changes[name]
        if not seen or seen[-1][1] != writable:
            seen.append((time.time(), writable))
