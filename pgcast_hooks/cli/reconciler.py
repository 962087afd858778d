"""`pgcast reconcile`: one pass, or the loop of a service."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.apply import commands
from pgcast_hooks.cli.duration import Seconds
from pgcast_hooks.cli.group import log, main, typed
from pgcast_hooks.cli.words import printable
from pgcast_hooks.document import MAX_SECONDS
from pgcast_hooks.errors import EX_UNAVAILABLE, LibraryMissing
from pgcast_hooks.hands import Host, host
from pgcast_hooks.settings import Config
from pgcast_hooks.witness import NOBODY, Witness

if TYPE_CHECKING:
    from pgcast_hooks.reconcile import Pass


@main.command()
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Seconds(0.1, MAX_SECONDS),
    help="Go on until SIGTERM, with a pass at each interval. [default: one pass]",
)
@click.option(
    "--wait",
    metavar="SECONDS",
    type=Seconds(0, MAX_SECONDS),
    help="One pass: try for so long until ExaBGP, which may just start, answers.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only print what one pass wants, finds otherwise, and would change.",
)
@click.option(
    "--withdraw-on-exit",
    is_flag=True,
    help="With --interval: withdraw every route at SIGTERM, instead of keeping it.",
)
@click.option(
    "--textfile",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write metrics after each pass, for node_exporter's textfile collector.",
)
@click.pass_obj
def reconcile(
    path: str,
    interval: float | None,
    wait: float | None,
    dry_run: bool,
    withdraw_on_exit: bool,
    textfile: str | None,
) -> None:
    """Bring Adj-RIB-Out in line with what Patroni says: repair what no callback told.

    For cron and systemd: silent when all is well, a line for each change. The exit code of
    one pass is 69 where a Patroni gave no answer.
    """
    from pgcast_hooks.loop import loop, single
    from pgcast_hooks.reconcile import reconcile as one_pass

    if interval and dry_run:
        raise click.UsageError("--dry-run goes with one pass, not with --interval")
    if wait is not None and (interval or dry_run):
        raise click.UsageError("--wait goes with one pass that may change something")
    if withdraw_on_exit and not interval:
        raise click.UsageError("--withdraw-on-exit goes with --interval")
    if textfile and dry_run:
        raise click.UsageError("--dry-run writes no --textfile: it changes nothing")
    if textfile:
        _require_metrics()
    config = configuration.load(path)
    hands = host(config, "reconcile", typed())
    if dry_run:
        _print_plan(hands, one_pass(hands, config, dry_run=True))
        return
    hands.state.claim_reconciler()
    witness = _exporter(textfile, config, hands) if textfile else NOBODY
    if interval:
        _log_to_stderr()
        stop = _stop_at_signals()
        loop(hands, config, interval, stop, withdraw_on_exit, witness)
        return
    try:
        done = single(hands, config, wait or 0.0, witness)
        log([*done.differences.values(), *done.unknown])
    finally:
        log([*hands.troubles(), witness.trouble])
    if done.unknown:
        sys.exit(EX_UNAVAILABLE)


def _require_metrics() -> None:
    """Raise LibraryMissing before anything is done."""
    try:
        import pgcast_hooks.metrics  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise LibraryMissing(
            "--textfile", "prometheus_client", sys.executable
        ) from None


def _exporter(textfile: str, config: Config, hands: Host) -> Witness:
    """Who writes the metrics."""
    from pgcast_hooks.exporter import Exporter
    from pgcast_hooks.textfile import Textfile

    return Exporter(Textfile(textfile), config, hands)


def _print_plan(hands: Host, plan: Pass) -> None:
    """What one pass wants of each prefix, what differs, and what it would write."""
    for prefix, must in plan.want.items():
        lines = commands(hands, prefix, must)
        click.echo("\n".join(f"want  {line}" for line in lines))
        if prefix in plan.differences:
            click.echo(f"have  {plan.differences[prefix]}")
            click.echo("\n".join(f"write {line}" for line in lines))
    log(plan.unknown)


def _stop_at_signals() -> int:
    """A file descriptor that becomes readable when the process is told to end."""
    readable, writable = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writable, b"x"))
    return readable


def _log_to_stderr() -> None:
    """journald adds the time by itself; a terminal does not."""
    stamp = "%(asctime)s " if sys.stderr.isatty() else ""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"{stamp}pgcast: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _OneLine(logging.Formatter):
    """Patroni and operators may say anything; a line of the log stays one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """As the base class does, but for what does not print."""
        return printable(super().formatMessage(record))
