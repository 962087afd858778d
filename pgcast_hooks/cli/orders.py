"""What an operator orders: `pgcast announce`, `withdraw`, `drain`, `auto` and `maintenance`.

An announcement is ordered first and carried out then, a withdrawal the other way round, as the
disk may be why: whatever ends this process in between, the reconciler goes on from the order.
"""

from __future__ import annotations

from typing import Any, Callable, TypeVar

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.cli import arguments
from pgcast_hooks.cli.duration import Duration
from pgcast_hooks.cli.group import log, main, named_cluster, named_routes, typed
from pgcast_hooks.cli.order import (
    ask,
    ended,
    give_withdrawal,
    homeless,
    how_long,
    replaced,
    standing_all_the_same,
)
from pgcast_hooks.hands import Host, host
from pgcast_hooks.model import Order, Override, Route
from pgcast_hooks.settings import Config
from pgcast_hooks.who import user


def _for(end: str) -> Callable[[F], F]:
    """The option --for of an order that `end` ends."""
    return click.option(
        "--for",
        "left",
        metavar="DURATION",
        type=Duration(),
        help=f"How long it holds, such as 30m or 2h. [default: until '{end}']",
    )


EPILOG = """\b
EXAMPLES
  pgcast withdraw main --for 30m --reason "disk repair"
  pgcast withdraw main 192.0.2.10/32
  pgcast announce main --for 1h --reason "Patroni is down everywhere"
  pgcast drain main 192.0.2.20/32 --reason "new kernel, in a minute"
  pgcast auto main

\b
EXIT CODES
  0   done
  69  ExaBGP does not answer; the order stands, and the reconciler will follow it
  75  not announced (Patroni names another member, a maintenance, the VIP is missing), or
      another pgcast held the pipe
  78  the order cannot be written down"""
F = TypeVar("F", bound=Callable[..., Any])
REASON = click.option(
    "--reason", metavar="TEXT", default="", help="Why, for whoever comes next."
)


@main.command(short_help="Withdraw routes, and keep them withdrawn.", epilog=EPILOG)
@arguments.scope
@arguments.prefixes
@_for("pgcast auto")
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
    give_withdrawal(hands, routes, [route.prefix for route in routes], order)
    log([f"{route.prefix} is withdrawn, {how_long(order)}" for route in routes])
    cluster = config.clusters[scope]._replace(routes=tuple(routes))
    log([*homeless(hands, [cluster]), *hands.troubles()])


@main.command(short_help="Announce routes, and keep them announced.", epilog=EPILOG)
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
    from pgcast_hooks.confirm import confirm

    config = configuration.load(path)
    cluster = named_cluster(config, scope)
    routes = named_routes(cluster, prefixes)
    hands = _hands(config)
    if not yes:
        ask(hands, cluster, routes)
    order = Override(Order.ANNOUNCE, reason, user(), left=left)
    for route in routes:
        log([replaced(hands, route.prefix)])
        hands.overrides.set(route.prefix, order)
    hands.state.raise_generation()
    with standing_all_the_same(order):
        said = confirm(hands, cluster, routes, 0.0, config.callback.poll_interval)
    log([f"{line}, {how_long(order)}" for line in said])
    log(hands.troubles())


@main.command(short_help="Ask routers to prefer other paths.", epilog=EPILOG)
@arguments.scope
@arguments.prefixes
@_for("pgcast auto")
@REASON
@click.pass_obj
def drain(
    path: str, scope: str, prefixes: tuple[str, ...], left: float | None, reason: str
) -> None:
    """Announce the routes of SCOPE, or only the PREFIXes, with GRACEFUL_SHUTDOWN.

    A standing order, for what several members announce: routers that honour the community
    65535:0 (RFC 8326) prefer the others' paths, and this one still serves until they do.
    Patroni decides as ever what is announced. Take it from the routers then with
    'pgcast withdraw'.
    """
    from pgcast_hooks.confirm import look

    config = configuration.load(path)
    cluster = named_cluster(config, scope)
    routes = named_routes(cluster, prefixes)
    hands = _hands(config)
    order = Override(Order.DRAIN, reason, user(), left=left)
    for route in routes:
        log([replaced(hands, route.prefix)])
        hands.overrides.set(route.prefix, order)
    hands.state.raise_generation()
    with standing_all_the_same(order):
        said = look(hands, cluster, routes)
    log([f"{line}, {how_long(order)}" for line in said])
    log(hands.troubles())


@main.command(short_help="End standing orders: Patroni decides again.", epilog=EPILOG)
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
        log([ended(str(route.prefix), hands.overrides.end(route.prefix))])
    hands.troubles()  # of what is ended now
    hands.state.raise_generation()
    log([*look(hands, cluster, routes), *hands.troubles()])


@main.group(short_help="Withdraw every route of this host.")
def maintenance() -> None:
    """Withdraw every route of this host, for the time of a repair; or end that."""


@maintenance.command("on")
@_for("pgcast maintenance off")
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
    give_withdrawal(hands, _all_routes(config), [None], order)
    log([f"every route is withdrawn, {how_long(order)}"])
    log([*homeless(hands, config.clusters.values()), *hands.troubles()])


@maintenance.command("off")
@click.pass_obj
def maintenance_off(path: str) -> None:
    """End the maintenance. Patroni, and the standing orders for single routes, decide
    again, at once."""
    from pgcast_hooks.reconcile import reconcile

    config = configuration.load(path)
    hands = _hands(config)
    log([ended("this host", hands.overrides.end(None))])
    hands.troubles()  # of what is ended now
    hands.state.raise_generation()
    done = reconcile(hands, config)
    for prefix in done.differences:
        does = "announced" if done.want[prefix] else "withdrawn"
        log([f"{prefix} is {does}: {done.reasons[prefix]}"])
    log([*done.unknown, *hands.troubles()])


def _hands(config: Config) -> Host:
    return host(config, "operator", typed())


def _all_routes(config: Config) -> list[Route]:
    return [route for cluster in config.clusters.values() for route in cluster.routes]
