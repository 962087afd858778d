"""One event done to the cluster, and what all who watched saw of it.

It exists so that the demo and the tests measure the same things in the same way.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Callable

from .lab import Lab
from .traffic import Attempt, Outage, Writer
from .watch import PrimaryWatch, RouteChange, RouteWatch


@dataclasses.dataclass(frozen=True)
class Event:
    """A change of leader. Times are seconds since the epoch."""

    name: str
    since: float
    old: str
    new: str
    timeline: int
    outage: Outage
    """The longest time without an acknowledged write, of a client behind the router."""
    writable: float
    """When PostgreSQL on the new leader took writes, seen from its own host."""
    arrival: float
    """When the router's route first came to the new leader."""
    served: float
    """When the first write through the VIP was acknowledged by the new leader."""
    changes: list[RouteChange]
    stale: list[Attempt]
    """Writes that began after the arrival, and that an older timeline took: must be empty."""

    @property
    def patroni_share(self) -> float:
        """Seconds of the outage in which no PostgreSQL was writable for the route to lead to."""
        return max(0.0, min(self.writable, self.outage.end) - self.outage.start)

    @property
    def route_share(self) -> float:
        """Seconds of the outage for which the new leader was writable already."""
        return max(0.0, self.outage.end - max(self.writable, self.outage.start))

    def __str__(self) -> str:
        return (
            f"{self.name} {self.old} → {self.new}: outage {self.outage.seconds:.3f} s, of it"
            f" {self.patroni_share:.3f} s until {self.new} was writable; route"
            f" {self.arrival - self.writable:+.3f} s after that, and the first write"
            f" {self.served - self.writable:+.3f} s; {len(self.stale)} stale writes; routes "
            + ", ".join(
                f"{c.member} at {c.time - self.since:.3f} s" for c in self.changes
            )
        )


class Observer:
    """`with Observer(lab) as watch:` all watches at once."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.routes = RouteWatch(lab)
        self.primaries = PrimaryWatch(lab)
        self.writer = Writer(lab)

    def __enter__(self) -> Observer:
        self.routes.start()
        self.primaries.start()
        self.writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.stop()
        self.primaries.stop()
        self.routes.stop()

    def measure(
        self, name: str, happen: Callable[[], object], timeout: float = 60
    ) -> Event:
        """Do something that makes another member the leader; return when the client has written
        to that one, and a second more."""
        lab, since = self.lab, time.time()
        old = lab.wait_for(lab.leader, 10, "leader")
        happen()
        new = lab.wait_for(
            lambda: lab.another_leader(old), timeout, f"leader other than {old}"
        )
        lab.wait_route(new, 20)
        self.writer.wait_for_write(new, since, 20)
        writable = lab.wait_for(
            lambda: self.primaries.writable(new, since), 5, "writable leader"
        )
        settled = time.time()
        lab.wait_for(lambda: time.time() > settled + 1, 5, "second")
        arrival = self.routes.arrival(new, since)
        assert (
            arrival is not None
        ), f"the route left {new} again: {self.routes.since(since)}"
        timeline = int(lab.sql("SELECT timeline()", new) or 0)
        return Event(
            name=name,
            since=since,
            old=old,
            new=new,
            timeline=timeline,
            outage=self.writer.outage(since),
            writable=writable,
            arrival=arrival,
            served=next(
                attempt.end
                for attempt in self.writer.acknowledged(since)
                if attempt.timeline == timeline
            ),
            changes=self.routes.since(since),
            stale=self.writer.stale(timeline, arrival),
        )
