"""`pgcast announce` and `pgcast withdraw`: what an operator orders."""

from __future__ import annotations

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.apply import apply, host
from pgcast_hooks.cli import arguments
from pgcast_hooks.cli.group import log, main, named_cluster, named_routes
from pgcast_hooks.document import MAX_SECONDS


@main.command()
@arguments.scope
@arguments.prefixes
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(0, MAX_SECONDS),
    default=0.0,
    show_default=True,
    help="How long to wait for Patroni to confirm the role.",
)
@click.pass_obj
def announce(path: str, scope: str, prefixes: tuple[str, ...], wait: float) -> None:
    """Announce the routes of SCOPE, or only the PREFIXes, if Patroni confirms that this
    member earns them.

    This is what a callback does, once and by hand: the next callback may undo it.
    """
    from pgcast_hooks.confirm import confirm

    config = configuration.load(path)
    cluster = named_cluster(config, scope)
    hands = host(config)
    hands.state.raise_generation()
    said = confirm(
        hands,
        cluster,
        named_routes(cluster, prefixes),
        wait,
        config.callback.poll_interval,
    )
    log([*said, hands.state.trouble])


@main.command()
@arguments.scope
@arguments.prefixes
@click.pass_obj
def withdraw(path: str, scope: str, prefixes: tuple[str, ...]) -> None:
    """Withdraw the routes of SCOPE, or only the PREFIXes, without asking Patroni.

    This is what a callback does, once and by hand: the next callback may undo it.
    """
    config = configuration.load(path)
    routes = named_routes(named_cluster(config, scope), prefixes)
    hands = host(config)
    hands.state.raise_generation()
    apply(hands, {route.prefix: None for route in routes})
    log([f"{route.prefix} is withdrawn" for route in routes] + [hands.state.trouble])
