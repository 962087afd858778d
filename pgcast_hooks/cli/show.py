"""`pgcast show`: what ExaBGP's Adj-RIB-Out holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.apply import read
from pgcast_hooks.cli.group import log, main
from pgcast_hooks.cli.table import table
from pgcast_hooks.hands import host
from pgcast_hooks.model import RibEntry
from pgcast_hooks.settings import Config

JSON_VERSION = 1
COLUMNS = (
    "scope",
    "role",
    "prefix",
    "announced",
    "neighbor",
    "next_hop",
    "med",
    "local_preference",
)


@main.command()
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document instead of a table.",
)
@click.pass_obj
def show(path: str, as_json: bool) -> None:
    """Show what ExaBGP's Adj-RIB-Out holds, for each neighbor, and which configured
    routes it lacks."""
    config = configuration.load(path)
    hands = host(config)
    answer = read(hands)
    rows = _rows(config, answer.adj_rib_out)
    if as_json:
        document = {
            "version": JSON_VERSION,
            "exabgp": {"pipe": hands.pipe.path, "version": answer.version},
        }
        click.echo(json.dumps({**document, "routes": rows}, indent=2))
    else:
        click.echo("\n".join(table(COLUMNS, rows)))
    log(hands.troubles())


def _rows(config: Config, entries: Iterable[RibEntry]) -> list[dict[str, Any]]:
    """A row for each route and neighbor in Adj-RIB-Out, managed or not.

    And one for each configured route that it lacks.
    """
    managed = {
        route.prefix: {"scope": cluster.scope, "role": route.role.value}
        for cluster in config.clusters.values()
        for route in cluster.routes
    }
    standing = list(entries)
    rows = []
    for entry in standing:
        row = managed.get(entry.prefix, {"scope": None, "role": None})
        rows.append(
            {**row, **entry._asdict(), "prefix": str(entry.prefix), "announced": True}
        )
    for prefix in managed.keys() - {entry.prefix for entry in standing}:
        nothing = dict.fromkeys(RibEntry._fields)
        rows.append(
            {**managed[prefix], **nothing, "prefix": str(prefix), "announced": False}
        )
    return rows
