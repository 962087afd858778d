"""The `pgcast` command: click, wiring and rendering. Holds no rule.

stdout is data, stderr is log. `_Commands.invoke` is the one place where an error
becomes an exit code.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import yaml

from pgcast_hooks import __version__
from pgcast_hooks import config as configuration
from pgcast_hooks.apply import apply, command, host, read
from pgcast_hooks.document import MAX_SECONDS
from pgcast_hooks.errors import (
    EX_SOFTWARE,
    EX_UNAVAILABLE,
    ConfigError,
    PgcastError,
    UnknownPrefix,
    UnknownScope,
)
from pgcast_hooks.model import Cluster, Config, RibEntry, Route

if TYPE_CHECKING:
    from pgcast_hooks.reconcile import Pass

JSON_VERSION = 1
EPILOG = (
    "Exit codes: 0 done, 2 usage, 69 ExaBGP (for reconcile: or a Patroni) does not"
    " answer, 70 bug,"
    " 75 not applied (Patroni does not confirm, somebody else acts): try again,"
    " 76 rejected by ExaBGP, 78 configuration."
)


class _Commands(click.Group):
    """The group whose commands' errors become one line on stderr, and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(f"pgcast: {error.path}: {problem}", err=True)
            ctx.exit(error.exit_code)
        except PgcastError as error:
            click.echo(f"pgcast: {error}", err=True)
            ctx.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            raise  # whoever read stdout has had enough; click knows
        except Exception:
            click.echo(
                f"{traceback.format_exc()}pgcast: a bug, please report it", err=True
            )
            ctx.exit(EX_SOFTWARE)


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config",
    "path",
    metavar="FILE",
    envvar="PGCAST_CONFIG",
    default=configuration.DEFAULT_PATH,
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)
@click.version_option(__version__, prog_name="pgcast")
@click.pass_context
def main(ctx: click.Context, path: str) -> None:
    """PostgreSQL high availability over anycast BGP.

    Announces the service address of a Patroni cluster from the member that serves it,
    through ExaBGP. Patroni runs pgcast-callback by itself; this command is for people.
    """
    ctx.obj = path


@main.command("check-config")
@click.pass_obj
def check_config(path: str) -> None:
    """Check the configuration file and print it with every default written out."""
    config = configuration.load(path)
    missing = configuration.missing_files(config)
    if missing:
        raise ConfigError(path, missing)
    yaml.safe_dump(configuration.effective(config), sys.stdout, sort_keys=False)


@main.command()
@click.argument("scope")
@click.argument("prefixes", metavar="[PREFIX]...", nargs=-1)
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
    cluster = _cluster(config, scope)
    hands = host(config)
    hands.state.raise_generation()
    said = confirm(
        hands, cluster, _routes(cluster, prefixes), wait, config.callback.poll_interval
    )
    _log([*said, hands.state.trouble])


@main.command()
@click.argument("scope")
@click.argument("prefixes", metavar="[PREFIX]...", nargs=-1)
@click.pass_obj
def withdraw(path: str, scope: str, prefixes: tuple[str, ...]) -> None:
    """Withdraw the routes of SCOPE, or only the PREFIXes, without asking Patroni.

    This is what a callback does, once and by hand: the next callback may undo it.
    """
    config = configuration.load(path)
    routes = _routes(_cluster(config, scope), prefixes)
    hands = host(config)
    hands.state.raise_generation()
    apply(hands, {route.prefix: None for route in routes})
    _log([f"{route.prefix} is withdrawn" for route in routes] + [hands.state.trouble])


@main.command()
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.1, MAX_SECONDS),
    help="Go on until SIGTERM, with a pass at each interval. [default: one pass]",
)
@click.option("--dry-run", is_flag=True, help="Only print what one pass would change.")
@click.option(
    "--withdraw-on-exit",
    is_flag=True,
    help="With --interval: withdraw every route at SIGTERM, instead of keeping it.",
)
@click.pass_obj
def reconcile(
    path: str, interval: float | None, dry_run: bool, withdraw_on_exit: bool
) -> None:
    """Bring Adj-RIB-Out in line with what Patroni says: repair what no callback told.

    For cron and systemd: silent when all is well, a line for each change. The exit code of
    one pass is 69 where a Patroni gave no answer.
    """
    from pgcast_hooks import reconcile as reconciler

    if interval and dry_run:
        raise click.UsageError("--dry-run goes with one pass, not with --interval")
    config = configuration.load(path)
    hands = host(config)
    if dry_run:
        _print_plan(reconciler.reconcile(hands, config, dry_run=True))
        return
    hands.state.claim_reconciler()
    if interval:
        _log_to_stderr()
        reconciler.loop(hands, config, interval, _stop_at_signals(), withdraw_on_exit)
        return
    done = reconciler.reconcile(hands, config)
    _log([*done.differences.values(), *done.unknown, hands.state.trouble])
    if done.unknown:
        sys.exit(EX_UNAVAILABLE)


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
        click.echo("\n".join(_table(rows)))
    _log([hands.state.trouble])


def _cluster(config: Config, scope: str) -> Cluster:
    cluster = config.clusters.get(scope)
    if cluster is None:
        raise UnknownScope(scope, list(config.clusters))
    return cluster


def _routes(cluster: Cluster, prefixes: Sequence[str]) -> list[Route]:
    """The routes that are named on the command line; all of the cluster where none
    is."""
    configured = {str(route.prefix): route for route in cluster.routes}
    for prefix in prefixes:
        if prefix not in configured:
            raise UnknownPrefix(prefix, cluster.scope, list(configured))
    return [configured[prefix] for prefix in dict.fromkeys(prefixes)] or list(
        cluster.routes
    )


def _print_plan(plan: Pass) -> None:
    """What one pass wants of each prefix, what differs, and what it would write."""
    for prefix, must in plan.want.items():
        click.echo(f"want  {command(prefix, must)}")
        if prefix in plan.differences:
            click.echo(f"have  {plan.differences[prefix]}")
            click.echo(f"write {command(prefix, must)}")
    _log(plan.unknown)


def _stop_at_signals() -> int:
    """A file descriptor that becomes readable when the process is told to end."""
    readable, writable = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writable, b"x"))
    return readable


def _log_to_stderr() -> None:
    """journald adds the time by itself; a terminal does not."""
    stamp = "%(asctime)s " if sys.stderr.isatty() else ""
    logging.basicConfig(level=logging.INFO, format=f"{stamp}pgcast: %(message)s")


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


def _table(rows: Iterable[dict[str, Any]]) -> list[str]:
    columns = (
        "scope",
        "role",
        "prefix",
        "announced",
        "neighbor",
        "next_hop",
        "med",
        "local_preference",
    )
    cells = [[column.upper().replace("_", "-") for column in columns]]
    cells += [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in cells
    ]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _log(lines: Iterable[str | None]) -> None:
    for line in lines:
        if line:
            click.echo(f"pgcast: {line}", err=True)
