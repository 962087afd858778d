"""What a visitor sees: a cluster whose leader changes, and the route that follows it.

It exists to show, not to test; every word and figure is measured while it runs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from .event import Event, Observer
from .host import in_thread
from .lab import Lab
from .network import VIP
from .traffic import Writer

COLUMNS = "{:>8}  {:6}  {:>8}  {:8}  {:18}  {}"


class Timeline:
    """A line for each change of what Patroni, the router and the client see."""

    def __init__(self, lab: Lab, writer: Writer) -> None:
        self.lab = lab
        self.writer = writer
        self.started = time.time()
        self._ending = threading.Event()
        self._last: tuple[str, ...] | None = None
        self._print = threading.Lock()

    def row(self, *cells: str) -> None:
        with self._print:
            print(COLUMNS.format(*cells).rstrip(), flush=True)

    def say(self, text: str) -> None:
        self._last = None
        self.row(self.clock(), *self.seen(), text)

    def clock(self) -> str:
        return f"{time.time() - self.started:.1f} s"

    def seen(self) -> tuple[str, ...]:
        """Leader, its timeline, the router's next hop, the client."""
        leaders = [m for m in self.lab.cluster() if m.role == "leader"]
        leader = leaders[0].name if leaders else "none"
        timeline = str(leaders[0].timeline or "-") if leaders else "-"
        return leader, timeline, self.lab.route() or "none", self.client()

    def client(self) -> str:
        """What became of the client's last attempts."""
        last = [
            a for a in list(self.writer.attempts)[-100:] if a.end > time.time() - 0.3
        ]
        good = [a for a in last if a.ok]
        if good:
            return f"writes to {good[-1].member}"
        return "is refused" if last else "gets no answer"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.row("time", "leader", "timeline", "route to", "client", "event")
        thread = in_thread(self._watch)
        try:
            yield
        finally:
            self._ending.set()
            thread.join(5)

    def _watch(self) -> None:
        while not self._ending.wait(0.1):
            with contextlib.suppress(Exception):  # the lab is going down
                seen = self.seen()
                if self._last is not None and seen != self._last:
                    self.row(self.clock(), *seen, "")
                self._last = seen


def demo(lab: Lab) -> None:
    """A switchover, then a failover; the table of what they cost."""
    began = time.time()
    print(
        f"Three members (PostgreSQL, Patroni, ExaBGP {lab.exabgp_version}), etcd, a BIRD router and"
        f" a client\nthat writes through {VIP} every 20 ms, each on a host of its own."
        " Bringing them up …",
        flush=True,
    )
    with lab:
        print(f"… up after {time.time() - began:.0f} s.\n", flush=True)
        with Observer(lab) as watch:
            timeline = Timeline(lab, watch.writer)
            with timeline.running():
                timeline.say("all is well")
                timeline.say(f"patronictl switchover (from {lab.leader()})")
                switchover = watch.measure("switchover", lab.switchover)
                lab.wait_healthy()
                timeline.say("all is well")
                old = lab.leader() or ""
                timeline.say(f"kill -9 Patroni and PostgreSQL on {old}")
                failover = watch.measure("failover", lab.patroni[old].kill_all)
                timeline.say(
                    f"{old}'s host and ExaBGP live on; Patroni is started there again"
                )
                lab.repair()
                timeline.say("all is well")
    print()
    report([switchover, failover])
    print(f"\ncleaned up; {time.time() - began:.0f} s in all")


def report(events: list[Event]) -> None:
    """Each outage, and how much of it passed before there was a writable PostgreSQL at all."""
    row = "{:24}  {:>10}  {:>26}  {:>14}  {:>12}"
    print(
        row.format(
            "event",
            "outage",
            "until leader is writable",
            "from then on",
            "stale writes",
        )
    )
    for event in events:
        seconds = (event.outage.seconds, event.patroni_share, event.route_share)
        cells = [f"{value:.2f} s" for value in seconds]
        print(
            row.format(
                f"{event.name} {event.old} → {event.new}", *cells, len(event.stale)
            )
        )
    print(
        "\nUntil the new leader is writable by itself is Patroni's share of an outage; from then"
    )
    print(
        "on is what the route adds. Stale: taken by an old timeline after the route had turned."
    )
