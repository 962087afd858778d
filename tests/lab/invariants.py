"""What must hold whatever goes wrong, checked while it does, at the router and at a client.

It exists so that a soak is judged by rules that know nothing of its faults.
"""

from __future__ import annotations

import bisect
import dataclasses
import threading
import time

from .host import in_thread
from .lab import Lab
from .network import READ_VIP
from .traffic import Attempt, Writer
from .watch import RouteWatch, Watch

TIMELINE = "a client's timeline went back"
TWO_ROUTES = "routes of two members at once"
CONVERGENCE = "did not converge"
REPLICA = "the read-write VIP answered from a replica"
LOST = "acknowledged writes are missing"


@dataclasses.dataclass(frozen=True)
class Violation:
    """`time` in seconds since the epoch; `detail` may have many lines."""

    time: float
    rule: str
    detail: str


class Invariants(Watch):
    """Looks at each attempt of the client and each change of the route as they come in."""

    def __init__(self, writer: Writer, routes: RouteWatch) -> None:
        self.writer = writer
        self.routes = routes
        self.attempts_seen = 0
        self.changes_seen = 0
        self.acknowledged: dict[int, float] = {}
        """Number of an attempt → when it was acknowledged."""
        self.last: Attempt | None = None
        """The last acknowledged attempt."""
        self._ends: list[float] = []
        self._first: dict[int, float] = {}
        """Timeline → when its first write was acknowledged."""
        self._found: list[Violation] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def start(self) -> None:
        self._thread = in_thread(self._watch)

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(10)
        self.look()

    def _watch(self) -> None:
        while not self._ending.wait(0.2):
            self.look()

    def look(self) -> None:
        """Check what has come in since the last look."""
        with self._lock:
            attempts = self.writer.attempts[self.attempts_seen :]
            for attempt in attempts:
                if attempt.ok:
                    self._check_attempt(attempt)
                if attempt.by_replica:
                    detail = f"write {attempt.number}: {attempt.error}"
                    self._found.append(Violation(attempt.start, REPLICA, detail))
            self.attempts_seen += len(attempts)
            changes = self.routes.changes[self.changes_seen :]
            for change in changes:
                if change.member is not None and "+" in change.member:
                    self._found.append(
                        Violation(change.time, TWO_ROUTES, f"routes of {change.member}")
                    )
            self.changes_seen += len(changes)

    def _check_attempt(self, attempt: Attempt) -> None:
        """Attempts come in the order of their ends: whatever was acknowledged before this one
        started is known."""
        timeline = attempt.timeline or 0
        newer = [t for t, end in self._first.items() if t > timeline]
        before = [t for t in newer if self._first[t] < attempt.start]
        if before:
            newest = max(before)
            self._found.append(
                Violation(
                    attempt.start,
                    TIMELINE,
                    f"write {attempt.number} acknowledged by {attempt.member} on timeline"
                    f" {timeline}, begun {attempt.start - self._first[newest]:.3f} s after the"
                    f" first one on timeline {newest}",
                )
            )
        self._first.setdefault(timeline, attempt.end)
        self.acknowledged[attempt.number] = attempt.end
        self.last = attempt
        self._ends.append(attempt.end)

    def take(self) -> list[Violation]:
        """What was found since this was asked last."""
        self.look()
        with self._lock:
            found, self._found = self._found, []
        return found

    def outage(self, since: float) -> float:
        """The longest time without an acknowledgement since then, in seconds."""
        self.look()
        with self._lock:
            first = max(0, bisect.bisect_left(self._ends, since) - 1)
            ends = [*self._ends[first:], time.time()]
        return max((b - a for a, b in zip(ends, ends[1:])), default=0.0)

    def missing(self, lab: Lab) -> list[Violation]:
        """After the client has stopped: what it was promised and the leader does not have."""
        rows = lab.sql("SELECT DISTINCT attempt FROM writes") or ""
        there = {int(row) for row in rows.split() if row.isdigit()}
        return [
            Violation(end, LOST, f"write {number}")
            for number, end in sorted(self.acknowledged.items())
            if number not in there
        ]


def trouble(
    lab: Lab, checks: Invariants, synchronous: bool, readers: bool
) -> str | None:
    """What is not yet as it was before a fault; None when all is well. With `readers` the
    read-only VIP must be at all replicas and nowhere else."""
    problem = lab.unhealthy()
    if problem:
        return problem
    leader = lab.leader()
    paths = sorted(path.member for path in lab.bird_paths())
    if paths != [leader]:
        return f"the router has paths from {paths}, the leader is {leader}"
    replicas = [member for member in lab.members if member != leader]
    if readers and lab.next_hops(READ_VIP) != replicas:
        return f"readers are sent to {lab.route(READ_VIP)}, the leader is {leader}"
    if synchronous and not any(m.role == "sync_standby" for m in lab.cluster()):
        return "no synchronous standby"
    last = checks.last
    if last is None or last.end < time.time() - 1 or last.member != leader:
        return f"the leader is {leader}, the client's last write: {last}"
    known = checks.routes.changes[-1].member
    if known != leader:
        return f"the watch at the router knows of {known}, the leader is {leader}"
    return None
