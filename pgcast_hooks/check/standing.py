"""What stands: routes against what Patroni says, overrides, and the reconciler; judged.

Pure: who calls has asked ExaBGP, Patroni and the state directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pgcast_hooks import policy
from pgcast_hooks.check.finding import Finding, Severity, critical, ok, warning
from pgcast_hooks.check.range import Range
from pgcast_hooks.errors import FenceExhausted
from pgcast_hooks.model import (
    Eligibility,
    LastPass,
    Observation,
    Order,
    Override,
    RibEntry,
    Route,
)

# A single pass comes from a timer or from cron, of which the slowest runs once a minute.
SINGLE = (Range(0, 120), Range(0, 600))


class Running(NamedTuple):
    """The reconciler: who holds its lock, and what it wrote of its last pass."""

    pid: int | None
    last: LastPass | None


def judge_route(
    scope: str, route: Route, seen: Observation, have: Iterable[RibEntry]
) -> list[Finding]:
    """Whether what is announced is what Patroni says that this member earns.

    For a route whose VIP is here and that no override holds. Silent where Patroni is.
    """
    if seen.eligibility is Eligibility.UNKNOWN:
        return []
    prefix = str(route.prefix)
    try:
        want = policy.desired(route, seen, carried=True)
    except FenceExhausted as error:
        return [critical("route.fence", prefix, str(error), "raise fence.base")]
    wrong = policy.differences({route.prefix: want}, have)
    if wrong:
        text = f"{'; '.join(wrong[route.prefix])}: {seen.reason}"
        advice = "pgcast reconcile; is pgcast-reconcile running?"
        return [critical("route.announced", prefix, text, advice)]
    does = "announced" if want else "not announced"
    return [ok("route.announced", prefix, f"{does}: {seen.reason}")]


def judge_override(
    scope: str, route: Route, override: Override | None
) -> list[Finding]:
    """An operator's order is no fault, but somebody may have forgotten it."""
    if override is None:
        return []
    prefix = str(route.prefix)
    if override.order is Order.HOLD:
        text = f"its override cannot be read ({override.reason}): nothing is announced anew"
        advice = f"pgcast auto {scope} {prefix}"
        return [critical("override.damaged", prefix, text, advice)]
    left = "until somebody ends it"
    if override.left is not None:
        left = f"for another {override.left:.0f} s"
    what = "the host is in maintenance" if override.whole_host else override.order.value
    text = f"{what} stands {left}, by {override.by or 'somebody'}: {override.reason}"
    ends = "pgcast maintenance off" if override.whole_host else f"pgcast auto {scope}"
    return [warning("override.standing", prefix, text, ends)]


def judge_orders(override: Override | None, have: Sequence[RibEntry]) -> list[str]:
    """How Adj-RIB-Out differs from an order, in words."""
    if override is None or override.order is Order.HOLD:
        return []
    if override.order is Order.WITHDRAW and have:
        return ["is announced, though an order to withdraw stands"]
    if override.order is Order.ANNOUNCE and not have:
        return ["is not announced, though an order to announce stands"]
    return []


def thresholds(
    last: LastPass | None, given: tuple[Range | None, Range | None]
) -> tuple[Range, Range]:
    """How old the last pass may be, in seconds: as given, else by the reconciler's interval."""
    usual = SINGLE
    if last is not None and last.interval is not None:
        # A pass itself may take some seconds, where Patroni or ExaBGP hangs.
        usual = (Range(0, last.interval * 3 + 10), Range(0, last.interval * 10 + 30))
    return given[0] or usual[0], given[1] or usual[1]


def judge_reconciler(running: Running, allowed: tuple[Range, Range]) -> list[Finding]:
    """Whether what no callback tells is repaired: by a service, or by passes of a timer."""
    name, last = "reconciler.running", running.last
    service = "pgcast-reconcile"
    single = last is not None and last.interval is None
    if running.pid is None and not single:
        text = "does not run: what no callback tells is not repaired"
        advice = f"systemctl enable --now {service}"
        return [critical(name, service, text, advice)]
    held = f"process {running.pid}" if running.pid else "single passes"
    found = [ok(name, service, f"runs: {held}")]
    if last is None:
        text = "holds its lock, but has noted no pass"
        advice = f"journalctl -u {service}"
        return [*found, warning("reconciler.recent", service, text, advice)]
    text = f"its last pass was {last.ago:.0f} s ago"
    advice = f"journalctl -u {service}; systemctl restart {service}"
    if last.ago == float("inf"):
        text = "has made no pass since this host booted"
    level = Severity.OK
    for allows, severity in zip(allowed, (Severity.WARNING, Severity.CRITICAL)):
        if allows.alerts(last.ago):
            level = severity
    tip = "" if level is Severity.OK else advice
    return [*found, Finding(level, "reconciler.recent", service, text, tip)]


def judge_trouble(running: Running) -> list[Finding]:
    """What the reconciler itself complains of; only worth a line where nothing explains it."""
    return [
        warning(
            "reconciler.trouble",
            "pgcast-reconcile",
            line,
            "journalctl -u pgcast-reconcile",
        )
        for line in (running.last.trouble if running.last else ())
    ]
