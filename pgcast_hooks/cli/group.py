"""The `pgcast` command itself: its options, and the one place where an error becomes an
exit code."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import click

from pgcast_hooks import __version__
from pgcast_hooks import config as configuration
from pgcast_hooks.cli.words import printable
from pgcast_hooks.errors import (
    EX_SOFTWARE,
    ConfigError,
    PgcastError,
    UnknownPrefix,
    UnknownScope,
)
from pgcast_hooks.model import Route
from pgcast_hooks.settings import Cluster, Config

EPILOG = """\b
EXAMPLES
  pgcast status                   who announces what, and why
  pgcast status main --watch      the same of one cluster, until Ctrl-C
  pgcast check                    what would break on the night, and what to do
  pgcast history --since 2h       what happened to the routes, and why
  pgcast maintenance on --for 1h  this host announces nothing, whoever asks
  pgcast maintenance off          Patroni decides again
  pgcast reconcile --dry-run      what a pass of the reconciler would change
  pgcast check-config             after each edit of the configuration

\b
FILES
  /etc/pgcast/pgcast.yml     the configuration; "pgcast check-config" prints all
                             of it; its times are in seconds
  /run/exabgp/exabgp.in      ExaBGP's named pipe: commands
  /run/exabgp/exabgp.out     ... and answers; where ExaBGP has them elsewhere,
                             exabgp.pipe in the configuration says so
  /var/lib/pgcast            the state directory (state_dir), which belongs to
                             Patroni's user

\b
ENVIRONMENT
  PGCAST_CONFIG              the configuration file, where --config is not given
  exabgp_api_pipename        the pipe's name, as ExaBGP itself understands it
  NO_COLOR, TERM=dumb        no colours, on a terminal too
  _PGCAST_COMPLETE           completion: eval "$(_PGCAST_COMPLETE=bash_source
                             pgcast)" in bash; zsh_source and fish_source alike

"pgcast COMMAND --help" tells more of each command. stdout is data, stderr is log.

Exit codes: 0 done, 2 usage, 69 ExaBGP (for reconcile and status: or a Patroni) does not
answer, or check finds something critical or not known, 70 bug, 75 not applied (Patroni does
not confirm, somebody else acts): try again, or status finds that something differs from what
is wanted, 76 rejected by ExaBGP, 78 configuration."""


AS_PLUGIN = "pgcast.as_plugin"  # in a context: monitoring has called


@contextlib.contextmanager
def _told_to_monitoring(so: bool) -> Iterator[None]:
    """A mistake on the command line, from `pgcast check --nagios` on, is UNKNOWN."""
    try:
        yield
    except click.UsageError as error:
        if so:
            end_as_lost(error)
        raise


class _Commands(click.Group):
    """The group whose commands' errors become one line on stderr, and an exit code."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        as_plugin = {"check", "--nagios"} <= set(args)
        with _told_to_monitoring(as_plugin):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[AS_PLUGIN] = as_plugin
        return context

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _told_to_monitoring(ctx.meta[AS_PLUGIN]):
                return super().invoke(ctx)
        except ConfigError as error:
            log(f"{error.path}: {problem}" for problem in error.problems)
            ctx.exit(error.exit_code)
        except PgcastError as error:
            log([str(error)])
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
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever a terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    ctx.obj = path


def end_as_lost(error: click.UsageError) -> NoReturn:
    """End as a monitoring plugin does that was called wrongly: UNKNOWN, with a status line."""
    from pgcast_hooks.check import plugin

    said, code = plugin.lost(error.format_message())
    click.echo(said)
    sys.exit(code)


def named_cluster(config: Config, scope: str) -> Cluster:
    """The cluster that is named on the command line. Raises UnknownScope."""
    cluster = config.clusters.get(scope)
    if cluster is None:
        raise UnknownScope(scope, list(config.clusters))
    return cluster


def named_routes(cluster: Cluster, prefixes: Sequence[str]) -> list[Route]:
    """The routes that are named on the command line; all of the cluster where none
    is. Raises UnknownPrefix."""
    configured = {str(route.prefix): route for route in cluster.routes}
    for prefix in prefixes:
        if prefix not in configured:
            raise UnknownPrefix(prefix, cluster.scope, list(configured))
    return [configured[prefix] for prefix in dict.fromkeys(prefixes)] or list(
        cluster.routes
    )


def log(lines: Iterable[str | None]) -> None:
    """Say something about what was done; stdout is for data."""
    for line in lines:
        if line:
            click.echo(printable(f"pgcast: {line}"), err=True)


def typed() -> str:
    """The command line from the command's name on, for the history."""
    name = click.get_current_context().find_root().invoked_subcommand or ""
    words = sys.argv[sys.argv.index(name) :] if name in sys.argv else [name]
    return shlex.join(["pgcast", *words])
