"""`pgcast status`: who announces what and why, in one screen."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.cli import arguments
from pgcast_hooks.cli.drawing import draw
from pgcast_hooks.cli.duration import Seconds
from pgcast_hooks.cli.group import main, named_cluster, named_routes
from pgcast_hooks.cli.layout import coloured, commanded, lay_out, width
from pgcast_hooks.cli.status_json import document
from pgcast_hooks.cli.words import without_measures
from pgcast_hooks.document import MAX_SECONDS
from pgcast_hooks.errors import EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE
from pgcast_hooks.settings import Cluster, Config
from pgcast_hooks.status.picture import Level, Status

EXIT_CODES = {
    Level.GOOD: EX_OK,
    Level.UNKNOWN: EX_UNAVAILABLE,
    Level.WRONG: EX_TEMPFAIL,
}
WATCH = "2"  # seconds
EPILOG = """\b
EXAMPLES
  pgcast status                        everything on this host
  pgcast status main 192.0.2.10/32     one route, its cluster and the host
  pgcast status --cluster --watch      redrawn every 2 seconds, until Ctrl-C
  pgcast status --json | jq .level     "good", "unknown" or "wrong"

\b
EXIT CODES
  0   all is as it must be
  69  a source does not answer (Patroni, ExaBGP, the state directory); the rest is shown
  75  something differs from what is wanted, whether or not a source is missing
  78  the configuration has a mistake, or does not name SCOPE"""


class _Status(click.Command):
    """Lets the option --watch stand without a number, in every version of click."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_with_seconds(args)))


def _with_seconds(args: Sequence[str]) -> list[str]:
    said = list(args)
    for index, word in enumerate(args):
        following = args[index + 1] if index + 1 < len(args) else ""
        if word == "--watch" and not following.replace(".", "", 1).isdigit():
            said[index] = f"--watch={WATCH}"
    return said


@main.command(cls=_Status, epilog=EPILOG)
@arguments.optional_scope
@arguments.prefixes
@click.option(
    "--cluster", "members", is_flag=True, help="Show the other members of each cluster."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON document; with --watch one on each line.",
)
@click.option(
    "--watch",
    "interval",
    metavar="[SECONDS]",
    type=Seconds(0.1, MAX_SECONDS),
    help=f"Look again and again until Ctrl-C, with a pause of SECONDS ({WATCH} if left out);"
    " what has changed since the last drawing is marked with *, the title where a line is gone.",
)
@click.pass_obj
def status(
    path: str,
    scope: str | None,
    prefixes: tuple[str, ...],
    members: bool,
    as_json: bool,
    interval: float | None,
) -> None:
    """Show who announces what, and why.

    Of all routes, or of SCOPE, or of its PREFIXes. First a verdict for each route: how it
    stands in ExaBGP's Adj-RIB-Out, and how it must be. Then for each cluster what Patroni
    says, who leads and how far behind the others are (in WAL); for each route what is wanted
    and why, the override in force, what stands for which neighbor, and its last change with
    the cause; the BGP sessions; ExaBGP, the reconciler's last pass and the state directory.
    Times are in this host's time zone.

    A line that begins with !! is not as it must be, one with ?? is not known. It changes
    nothing. All sources are asked at once, each for as long as the configuration gives it
    (patroni.timeout of the cluster; exabgp.timeout and exabgp.lock_timeout); what is missing is
    said, and the rest is shown. Colours are for terminals, but not where NO_COLOR is set or
    TERM is dumb.
    """
    config = configuration.load(path)
    chosen = _chosen(config, scope, prefixes)
    from pgcast_hooks.status import look

    if interval is None:
        found = look(config, chosen)
        _print(found, members, as_json)
        sys.exit(EXIT_CODES[found.level])
    try:
        screen = _Screen(members, as_json)
        while True:
            screen.show(look(config, chosen))
            time.sleep(interval)
    except KeyboardInterrupt:
        click.echo()


def _chosen(
    config: Config, scope: str | None, prefixes: Sequence[str]
) -> list[Cluster]:
    """The clusters to show, with the routes to show."""
    if scope is None:
        return list(config.clusters.values())
    cluster = named_cluster(config, scope)
    return [cluster._replace(routes=tuple(named_routes(cluster, prefixes)))]


def _print(found: Status, members: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document(found), indent=2))
        return
    colour = coloured(sys.stdout)
    lines = lay_out(draw(found, members), width(sys.stdout), colour)
    click.echo("\n".join(lines), color=colour)


class _Screen:
    """Successive drawings, each of which marks what is not as in the one before it."""

    def __init__(self, members: bool, as_json: bool) -> None:
        self._members = members
        self._as_json = as_json
        self._before: dict[str, str] | None = None

    def show(self, found: Status) -> None:
        """Draw over the last one, or below it where the stream takes no commands."""
        if self._as_json:
            click.echo(json.dumps(document(found)))
            return
        now = {p.subject: without_measures(p.text) for p in draw(found, self._members)}
        drawn = draw(found, self._members, time.strftime("%H:%M:%S"))
        before, self._before = self._before, now
        changed = {name for name in now if before and before.get(name) != now[name]}
        if before and before.keys() - now.keys():
            changed.add(
                drawn[0].subject
            )  # something is gone, which has no line to mark
        columns, colour = width(sys.stdout), coloured(sys.stdout)
        lines = lay_out(drawn, columns, colour, changed)
        if not commanded(sys.stdout):
            click.echo("\n".join([*lines, ""]), color=colour)
            return
        rows = shutil.get_terminal_size().lines
        if len(lines) >= rows:
            more = f"... {len(lines) - rows + 2} lines more: name a SCOPE, or make it taller"
            lines = [*lines[: rows - 2], more[:columns]]
        # Home, each line cleared to its end, and what is below: no flicker.
        text = "".join(f"{line}\033[K\n" for line in lines)
        click.echo(f"\033[H{text}\033[J", nl=False, color=True)
