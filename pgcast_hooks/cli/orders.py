"""What an operator orders: `pgcast announce`, `withdraw`, `auto` and `maintenance`.

The order is written first and carried out then: whatever ends this process in between, the
reconciler goes on from the order.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.apply import Host, apply, host
from pgcast_hooks.cli import arguments
from pgcast_hooks.cli.duration import Duration, spoken
from pgcast_hooks.cli.group import log, main, named_cluster, named_routes, typed
from pgcast_hooks.errors import NotEarned, OverrideNotKept
from pgcast_hooks.model import Cluster, Config, Eligibility, Order, Override, Route
from pgcast_hooks.policy import phrase
from pgcast_hooks.who import user

FOR = click.option(
    "--for",
    "left",
    metavar="DURATION",
    type=Duration(),
    help="How long it holds, such as 30m or 2h. [default: until 'pgcast auto']",
)
REASON = click.option(
    "--reason", metavar="TEXT", default="", help="Why, for whoever comes next."
)


@main.command()
@arguments.scope
@arguments.prefixes
@FOR
@REASON
@click.pass_obj
def withdraw(
    path: str, scope: str, prefixes: tuple[str, ...], left: float | None, reason: str
) -> None:
    """Withdraw the routes of SCOPE, or only the PREFIXes, and keep them withdrawn.

    A standing order: it holds against callbacks, the reconciler, restarts and reboots until
    it expires or 'pgcast auto' ends it. Patroni is not asked. On the leader this ends the
    service for all clients: 'patronictl switchover' first.
    """
    config = configuration.load(path)
    routes = named_routes(named_cluster(config, scope), prefixes)
    hands = _hands(config)
    order = Override(Order.WITHDRAW, reason, user(), left=left)
    _withdraw(hands, routes, [route.prefix for route in routes], order)
    log([f"{route.prefix} is withdrawn, {_how_long(left)}" for route in routes])
    cluster = config.clusters[scope]._replace(routes=tuple(routes))
    log([*_homeless(hands, [cluster]), *hands.troubles()])


@main.command()
@arguments.scope
@arguments.prefixes
@click.option(
    "--for",
    "left",
    metavar="DURATION",
    type=Duration(),
    required=True,
    help="How long it holds, such as 30m or 2h.",
)
@REASON
@click.option(
    "--yes", is_flag=True, help="Do not ask, even if this member earns no route."
)
@click.pass_obj
def announce(
    path: str,
    scope: str,
    prefixes: tuple[str, ...],
    left: float,
    reason: str,
    yes: bool,
) -> None:
    """Announce the routes of SCOPE, or only the PREFIXes, and keep them announced.

    A standing order: it holds against callbacks, the reconciler, restarts and reboots until
    it expires or 'pgcast auto' ends it. Where Patroni does not say that this member earns
    the route it asks for a confirmation, and announces it as the last resort: any leader
    whom Patroni confirms wins at the router. To announce what Patroni confirms, and no
    more, 'pgcast reconcile' is enough.
    """
    from pgcast_hooks.confirm import look

    config = configuration.load(path)
    cluster = named_cluster(config, scope)
    routes = named_routes(cluster, prefixes)
    hands = _hands(config)
    if not yes:
        _ask(hands, cluster, routes)
    order = Override(Order.ANNOUNCE, reason, user(), left=left)
    for route in routes:
        hands.overrides.set(route.prefix, order)
    hands.state.raise_generation()
    log([f"{said}, {_how_long(left)}" for said in look(hands, cluster, routes)])
    log(hands.troubles())


@main.command()
@arguments.scope
@arguments.prefixes
@click.pass_obj
def auto(path: str, scope: str, prefixes: tuple[str, ...]) -> None:
    """End the standing orders for the routes of SCOPE, or only for the PREFIXes.

    Patroni decides again, at once. A maintenance of the whole host goes on.
    """
    from pgcast_hooks.confirm import look

    config = configuration.load(path)
    cluster = named_cluster(config, scope)
    routes = named_routes(cluster, prefixes)
    hands = _hands(config)
    for route in routes:
        ended = hands.overrides.end(route.prefix)
        log([_ended(str(route.prefix), ended)])
    hands.troubles()  # of what is ended now
    hands.state.raise_generation()
    log([*look(hands, cluster, routes), *hands.troubles()])


@main.group()
def maintenance() -> None:
    """Withdraw every route of this host, for the time of a repair; or end that."""


@maintenance.command("on")
@FOR
@REASON
@click.pass_obj
def maintenance_on(path: str, left: float | None, reason: str) -> None:
    """Withdraw every route that is configured on this host, and keep it withdrawn.

    A standing order like that of 'pgcast withdraw', before which it comes. On a leader this
    ends the service for all clients: 'patronictl switchover' first.
    """
    config = configuration.load(path)
    hands = _hands(config)
    order = Override(Order.WITHDRAW, reason, user(), left=left, whole_host=True)
    _withdraw(hands, _all_routes(config), [None], order)
    until = _how_long(left, "pgcast maintenance off")
    log([f"every route is withdrawn, {until}"])
    log([*_homeless(hands, config.clusters.values()), *hands.troubles()])


@maintenance.command("off")
@click.pass_obj
def maintenance_off(path: str) -> None:
    """End the maintenance. Patroni, and the standing orders for single routes, decide
    again, at once."""
    from pgcast_hooks.reconcile import reconcile

    config = configuration.load(path)
    hands = _hands(config)
    log([_ended("this host", hands.overrides.end(None))])
    hands.troubles()  # of what is ended now
    hands.state.raise_generation()
    done = reconcile(hands, config)
    log([*done.differences.values(), *done.unknown, *hands.troubles()])


def _withdraw(
    hands: Host, routes: Sequence[Route], keys: Sequence[object], order: Override
) -> None:
    """Let the order stand, and withdraw. What cannot be written down is withdrawn all the
    same, before OverrideNotKept is raised."""
    failed = None
    for key in keys:
        try:
            hands.overrides.set(key, order)  # type: ignore[arg-type]
        except OverrideNotKept as error:
            failed = error
    hands.state.raise_generation()
    gone = [route.prefix for route in routes]
    apply(hands, dict.fromkeys(gone), dict.fromkeys(gone, phrase(order)))
    if failed:
        log(f"{route.prefix} is withdrawn for the moment" for route in routes)
        raise failed


def _homeless(hands: Host, clusters: Iterable[Cluster]) -> list[str]:
    """A line for each cluster whose clients have nowhere to go now."""
    from pgcast_hooks.observe import observe_all

    observations = observe_all(clusters, hands.state)
    return [
        f"clients of {scope} have no {role.value} to go to: this member is {seen.reason};"
        f" patronictl switchover {scope}"
        for (scope, role), seen in observations.items()
        if seen.eligibility is Eligibility.ELIGIBLE
    ]


def _ask(hands: Host, cluster: Cluster, routes: Sequence[Route]) -> None:
    """Have it confirmed by whoever sits there, if Patroni does not confirm it.

    Raises NotEarned where nobody does.
    """
    from pgcast_hooks.observe import earner, observe

    for role in dict.fromkeys(route.role for route in routes):
        seen = observe(cluster, role, hands.state, cluster.patroni.timeout)
        if seen.eligibility is Eligibility.ELIGIBLE:
            continue
        prefix = next(str(route.prefix) for route in routes if route.role is role)
        refusal = NotEarned(prefix, seen.reason, earner(cluster, role))
        if not sys.stdin.isatty():
            raise refusal
        click.echo(f"{seen.reason}; {refusal.earner}.", err=True)
        if not click.confirm("Announce it from here all the same?", err=True):
            raise refusal


def _hands(config: Config) -> Host:
    return host(config, "operator", typed())


def _all_routes(config: Config) -> list[Route]:
    return [route for cluster in config.clusters.values() for route in cluster.routes]


def _how_long(left: float | None, end: str = "pgcast auto") -> str:
    return f"until '{end}'" if left is None else f"for {spoken(left)}"


def _ended(what: str, ended: Override | None) -> str:
    if ended is None:
        return f"{what}: there was no order"
    if ended.order is Order.HOLD:
        return f"{what}: {ended.reason.partition(':')[0]} and is kept aside"
    reason = f": {ended.reason}" if ended.reason else ""
    return f"{what}: the order to {ended.order.value} by {ended.by} is ended{reason}"
