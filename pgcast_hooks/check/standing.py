"""What stands: routes against what Patroni says, overrides, and the reconciler; judged.

Pure: who calls has asked ExaBGP, Patroni and the state directory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pgcast_hooks import compare, policy
from pgcast_hooks.check.finding import Finding, Severity, critical, ok, warning
from pgcast_hooks.check.range import Range
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
    route: Route,
    seen: Observation,
    override: Override | None,
    have: Iterable[RibEntry],
) -> list[Finding]:
    """Whether what is announced is what an override orders, or what this member earns.

    For a route whose VIP is here. Silent where neither says anything.
    """
    prefix = str(route.prefix)
    decision = policy.decide(route, seen, override, carried=True)
    if not decision.acts:
        return []
    want = decision.must
    if want is None and override is None and seen.eligibility is Eligibility.ELIGIBLE:
        return [critical("route.fence", prefix, decision.reason, "raise fence.base")]
    wrong = compare.differences({route.prefix: want}, have)
    if wrong:
        text = f"{'; '.join(wrong[route.prefix])}: {decision.reason}"
        advice = "pgcast reconcile; is pgcast-reconcile running?"
        return [critical("route.announced", prefix, text, advice)]
    does = "announced" if want else "not announced"
    return [ok("route.announced", prefix, f"{does}: {decision.reason}")]


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
        if override.whole_host:
            advice = "pgcast maintenance off"
        return [critical("override.damaged", prefix, text, advice)]
    left = "" if override.left is None else f", for another {override.left:.0f} s"
    text = f"{policy.phrase(override)}{left}"
    ends = "pgcast maintenance off" if override.whole_host else f"pgcast auto {scope}"
    return [warning("override.standing", prefix, text, ends)]


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
