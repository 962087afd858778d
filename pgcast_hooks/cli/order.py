"""How an order is given: confirmed where it must be, written down, carried out, and told.

`pgcast_hooks.cli.orders` has the commands.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from pgcast_hooks.apply import align, apply
from pgcast_hooks.asking import earned
from pgcast_hooks.cli.duration import spoken
from pgcast_hooks.cli.group import log
from pgcast_hooks.errors import NotEarned, OverrideNotKept, PgcastError, Superseded
from pgcast_hooks.hands import Host
from pgcast_hooks.model import Eligibility, Order, Override, Prefix, Route
from pgcast_hooks.policy import LEADERS, phrase
from pgcast_hooks.settings import Cluster

LOOKS = 5  # how often it looks again because somebody acted meanwhile


def give_withdrawal(
    hands: Host,
    routes: Sequence[Route],
    keys: Sequence[Prefix | None],
    order: Override,
) -> None:
    """Withdraw, let the order stand, and withdraw what somebody announced in between.

    The disk may be why the host is drained, so nothing waits for it first. What cannot be
    written down is withdrawn all the same, before OverrideNotKept is raised.
    """
    gone = [route.prefix for route in routes]
    reasons = dict.fromkeys(gone, phrase(order))
    hands.state.raise_generation()
    with contextlib.suppress(PgcastError):  # it is tried again below
        apply(hands, dict.fromkeys(gone), reasons)
    failed = None
    for key in keys:
        try:
            log([replaced(hands, key)])
            hands.overrides.set(key, order)
        except OverrideNotKept as error:
            failed = error
            _end_announcement(hands, key)
    hands.state.raise_generation()
    try:
        with standing_all_the_same(order, not failed):
            _withdraw(hands, gone, reasons)
    except PgcastError as error:
        if not failed:
            raise
        log([str(error)])
    else:
        if failed:
            log(f"{prefix} is withdrawn for the moment" for prefix in gone)
    if failed:
        raise failed


def _withdraw(
    hands: Host, gone: Sequence[Prefix], reasons: Mapping[Prefix, str]
) -> None:
    """Have it read back that nothing stands. Raises what `align` raises, and Superseded only
    when others acted all the time."""
    for _ in range(LOOKS):
        seen = hands.state.generation()
        with contextlib.suppress(Superseded):
            align(hands, dict.fromkeys(gone), reasons, seen)
            return
    raise Superseded


def _end_announcement(hands: Host, key: Prefix | None) -> None:
    """An order to announce must not come back because the one to withdraw finds no room."""
    standing = hands.overrides.of(key)
    if standing and standing.order is Order.ANNOUNCE:
        with contextlib.suppress(OverrideNotKept):
            hands.overrides.end(key)


@contextlib.contextmanager
def standing_all_the_same(order: Override, so: bool = True) -> Iterator[None]:
    """Where it cannot be carried out now, or not be read back, tell that the order stands all
    the same, and will be followed."""
    try:
        yield
    except PgcastError:
        if so:
            log([f"the order to {order.order.value} stands, {how_long(order)}"])
        raise


def replaced(hands: Host, key: Prefix | None) -> str | None:
    """A line for an order that is replaced: it may be a colleague's."""
    before = hands.overrides.of(key)
    if before is None or before.order is Order.HOLD:
        return None
    left = f", {spoken(before.left)} before its end" if before.left else ""
    return f"{key or 'this host'}: {phrase(before)}: is replaced{left}"


def homeless(hands: Host, clusters: Iterable[Cluster]) -> list[str]:
    """A line for each cluster whose clients have nowhere to go now."""
    from pgcast_hooks.observe import observe_all

    observations = observe_all(clusters, hands.state)
    return [
        f"clients of {scope} have no {role.value} to go to: this member is {seen.reason};"
        f" patronictl switchover {scope}"
        for (scope, role), seen in (
            ((scope, question.role), seen)
            for (scope, question), seen in observations.items()
        )
        if seen.eligibility is Eligibility.ELIGIBLE and role in LEADERS
    ]


def ask(hands: Host, cluster: Cluster, routes: Sequence[Route]) -> None:
    """Have it confirmed by whoever sits there, if Patroni does not confirm it.

    Raises NotEarned where nobody does.
    """
    from pgcast_hooks.observe import earner, observe_routes

    limit = cluster.patroni.timeout
    said = observe_routes(cluster, routes, hands.state, limit)
    refusals: list[NotEarned] = []
    for route in routes:
        seen = earned(route, said)
        standing = hands.overrides.standing(route.prefix)
        against = standing if standing and standing.order is Order.WITHDRAW else None
        if seen.eligibility is Eligibility.ELIGIBLE and against is None:
            continue
        why = phrase(against) if against else seen.reason
        whose = earner(cluster, route.role)
        refusals.append(NotEarned(str(route.prefix), why, whose))
    if not refusals:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise refusals[0]
    for refusal in refusals:
        log([f"{refusal.prefix}: {refusal.reason}; {refusal.earner}."])
    try:
        if not click.confirm("Announce from here all the same?", err=True):
            raise refusals[0]
    except click.Abort:
        raise refusals[0] from None


def how_long(order: Override) -> str:
    """How long an order that is given now holds, in words."""
    end = "pgcast maintenance off" if order.whole_host else "pgcast auto"
    return f"until '{end}'" if order.left is None else f"for {spoken(order.left)}"


def ended(what: str, order: Override | None) -> str:
    """A line for an order that was ended, or was not there."""
    if order is None:
        return f"{what}: there was no order"
    if order.order is Order.HOLD:
        return f"{what}: {order.reason.partition(':')[0]} and is kept aside"
    reason = f": {order.reason}" if order.reason else ""
    return f"{what}: the order to {order.order.value} by {order.by} is ended{reason}"
