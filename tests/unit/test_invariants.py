"""The judge of a soak, told what must not happen: no fault of the lab brings every kind of it about."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab.invariants import LOST, REPLICA, TIMELINE, TWO_ROUTES, Invariants
from tests.lab.traffic import READ_ONLY, Attempt
from tests.lab.watch import RouteChange


def write(number: int, start: float, end: float, timeline: int) -> Attempt:
    """A write that was acknowledged."""
    return Attempt(number, start, end, True, timeline, f"pg{timeline}", False)


def judge(*attempts: Attempt, members: tuple[str | None, ...] = ()) -> Invariants:
    """The judge of these attempts, and of the members to whom the router sent clients."""
    changes = [RouteChange(float(at), member) for at, member in enumerate(members)]
    writer: Any = SimpleNamespace(attempts=attempts)
    routes: Any = SimpleNamespace(changes=changes)
    return Invariants(writer, routes)


@pytest.mark.parametrize(
    ("stale", "found"),
    [
        (write(3, 2.6, 2.7, 4), [TIMELINE]),  # begun after the newer leader's first
        (write(3, 2.4, 2.7, 4), []),  # begun before it was acknowledged
        (write(3, 2.6, 2.7, 5), []),
        (Attempt(3, 2.6, 2.7, False, error="gone"), []),
    ],
)
def test_a_write_on_an_older_timeline(stale: Attempt, found: list[str]) -> None:
    """It must have begun before the first write on a newer one was acknowledged."""
    checks = judge(write(1, 1.0, 1.1, 4), write(2, 2.0, 2.5, 5), stale)
    assert [violation.rule for violation in checks.take()] == found
    assert checks.take() == []


def test_a_replica_that_answers() -> None:
    """By refusing the write, or by a statement that it carries out."""
    refused = Attempt(1, 1.0, 1.1, False, error=f"ERROR: {READ_ONLY}")
    read = Attempt(2, 2.0, 2.1, False, recovery=True)
    assert [v.rule for v in judge(refused, read).take()] == [REPLICA, REPLICA]


def test_two_members_routes_at_once() -> None:
    """One at a time, or none."""
    fine = judge(members=("pg1", None, "pg2"))
    assert fine.take() == []
    (found,) = judge(members=("pg1", "pg1+pg2", "pg2")).take()
    assert (found.rule, found.time) == (TWO_ROUTES, 1.0)


def test_a_write_that_is_missing_at_the_end() -> None:
    """By what the last leader has."""
    checks = judge(write(1, 1.0, 1.1, 4), write(2, 2.0, 2.1, 4))
    checks.look()
    lab: Any = SimpleNamespace(sql=lambda _: "1\n")
    assert [(v.rule, v.detail) for v in checks.missing(lab)] == [(LOST, "write 2")]


def test_the_longest_time_without_a_write() -> None:
    """Between two acknowledged, in seconds."""
    now = time.time()
    checks = judge(write(1, now - 9.0, now - 8.0, 4), write(2, now - 1.0, now - 0.5, 4))
    assert checks.outage(since=now - 9.0) == pytest.approx(7.5)
