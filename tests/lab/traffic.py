"""What clients behind the router get: those who write through the VIP, and those who read.

It exists because a route is only as good as the answer that a client gets by it. All clocks are
the machine's (seconds since the epoch).
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from .host import BOUND, PATH, LabError, in_thread
from .lab import Lab
from .network import READ_VIP, VIP
from .services import app_dsn
from .watch import Watch, end

PROGRAM = Path(__file__).with_name("client.py")
INSERT = (
    "INSERT INTO writes (attempt) VALUES (%(number)s) RETURNING timeline(), member()"
)
# A replica does not know its timeline.
SELECT = (
    "SELECT member(), pg_is_in_recovery() AS recovery,"
    " CASE WHEN NOT pg_is_in_recovery() THEN timeline() END AS timeline"
)
READ_ONLY = "read-only transaction"  # what PostgreSQL calls a write in recovery


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One statement of a client; `member`, `timeline` and `recovery` as the server told them."""

    number: int
    start: float
    end: float
    ok: bool
    timeline: int | None = None
    member: str | None = None
    recovery: bool | None = None
    error: str | None = None

    @property
    def by_replica(self) -> bool:
        """Whether it was a replica that answered, be it by refusing a write."""
        return bool(self.recovery) or READ_ONLY in (self.error or "")


@dataclasses.dataclass(frozen=True)
class Outage:
    """No attempt succeeded between `start` and `end`."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Client(Watch):
    """A client that starts a statement through a VIP every 20 ms; see client.py."""

    statement: ClassVar[str]

    def __init__(
        self, lab: Lab, address: str, interval: float = 0.02, timeout: float = 1.0
    ) -> None:
        """`timeout`: seconds that an attempt may take."""
        self.lab = lab
        self.address = address
        self.options = ["--interval", str(interval), "--timeout", str(timeout)]
        self.attempts: list[Attempt] = []

    def start(self) -> None:
        """Return when the first attempt has succeeded."""
        self._process = _popen(self.lab, self.address, self.statement, self.options)
        self._thread = in_thread(self._read)
        try:
            what = f"{type(self).__name__} served by {self.address}"
            self.lab.wait_for(lambda: any(a.ok for a in self.attempts), 20, what)
        except LabError:
            self.stop()
            raise

    def stop(self) -> None:
        end(self._process, self._thread)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self.attempts.append(Attempt(**json.loads(line)))

    def acknowledged(self, since: float = 0) -> list[Attempt]:
        """What succeeded, in the order of the ends."""
        found = [a for a in list(self.attempts) if a.ok and a.end >= since]
        return sorted(found, key=lambda a: a.end)

    def failed(self, since: float = 0) -> list[Attempt]:
        """What failed, in the order of the ends."""
        found = [a for a in list(self.attempts) if not a.ok and a.end >= since]
        return sorted(found, key=lambda a: a.end)

    def settle(self) -> None:
        """Wait until all have ended that were begun before the latest one that has."""
        latest = max(a.number for a in list(self.attempts))
        self.lab.wait_for(
            lambda: sum(a.number <= latest for a in list(self.attempts)) == latest,
            10,
            "end of the attempts under way",
        )

    def by_replica(self, since: float = 0) -> list[Attempt]:
        """What a replica answered. The read-write VIP must have none."""
        return [a for a in list(self.attempts) if a.by_replica and a.end >= since]

    def outage(self, since: float = 0, until: float | None = None) -> Outage:
        """The longest time without an acknowledgement. An outage that has not ended lasts until
        now, so that no answer at all is not mistaken for no outage."""
        ends = [since] if since else []
        ends += [a.end for a in self.acknowledged(since)]
        ends += [until or time.time()]
        before = [a.end for a in self.acknowledged() if a.end < since]
        if before:
            ends[0] = max(before)
        return max(
            (Outage(a, b) for a, b in zip(ends, ends[1:])), key=lambda o: o.seconds
        )


class Writer(Client):
    """A client that writes."""

    statement = INSERT

    def __init__(self, lab: Lab, address: str = VIP, interval: float = 0.02) -> None:
        super().__init__(lab, address, interval)

    def wait_for_write(self, member: str, since: float, timeout: float = 60) -> None:
        """Wait until a write that started after `since` reached this member."""
        self.lab.wait_for(
            lambda: any(
                a.member == member and a.start >= since
                for a in self.acknowledged(since)
            ),
            timeout,
            f"write through the VIP that reaches {member}",
        )

    def stale(self, timeline: int, since: float) -> list[Attempt]:
        """Writes begun after `since` that an older timeline took. There must be none once the
        newest leader has the route."""
        found = self.acknowledged(since)
        return [a for a in found if a.start > since and (a.timeline or 0) < timeline]


class Reader(Client):
    """A client that reads, and asks who answers. It waits so long for an answer that a busy
    machine is not mistaken for a fault."""

    statement = SELECT

    def __init__(
        self, lab: Lab, address: str = READ_VIP, interval: float = 0.02
    ) -> None:
        super().__init__(lab, address, interval, timeout=5.0)


def readers(lab: Lab, address: str = READ_VIP, count: int = 300) -> list[Attempt]:
    """One attempt of each of so many readers, some at once, with 5 s for each."""
    options = ["--count", str(count), "--most", "20", "--interval", "0.005"]
    process = _popen(lab, address, SELECT, [*options, "--timeout", "5"])
    said, _ = process.communicate(timeout=60)
    attempts = [Attempt(**json.loads(line)) for line in said.splitlines()]
    if len(attempts) != count:
        raise LabError(f"{len(attempts)} of {count} readers: {said[-500:]}")
    return attempts


def answers(attempts: Iterable[Attempt]) -> dict[str, int]:
    """Member, or the error, → how many attempts it was."""
    return dict(collections.Counter(a.member or a.error or "" for a in attempts))


def _popen(
    lab: Lab, address: str, statement: str, options: list[str]
) -> subprocess.Popen[str]:
    argv = [sys.executable, str(PROGRAM), app_dsn(address), statement, *options]
    return subprocess.Popen(
        [*lab.client.in_network(), *BOUND, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"PATH": PATH, "LANG": "C.UTF-8"},
        text=True,
    )
