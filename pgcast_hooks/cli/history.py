"""`pgcast history`: what became of the routes of this host, and why."""

from __future__ import annotations

import calendar
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import click

from pgcast_hooks import config as configuration
from pgcast_hooks.cli import arguments
from pgcast_hooks.cli.duration import MOST, parse
from pgcast_hooks.cli.group import log, main, named_cluster, named_routes
from pgcast_hooks.cli.words import printable
from pgcast_hooks.errors import HistoryUnusable
from pgcast_hooks.eventline import encode, now, stamp
from pgcast_hooks.history import History
from pgcast_hooks.settings import Config

LINES = 10  # what --follow begins with, as tail does
PAUSE = 0.2  # seconds between two looks for new events
FORMS = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)


class Since(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks only
    """Gives a moment, in seconds since 1970; a time without a zone is local."""

    name = "since"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        if isinstance(value, float):
            return value
        if value == "today":
            return time.mktime((*time.localtime(now())[:3], 0, 0, 0, 0, 0, -1))
        seconds = parse(value)
        if seconds is not None and seconds <= MOST:
            return now() - seconds
        moment = _moment(value)
        if moment is None:
            why = "is neither a length of time (30m, 2h, 3d) nor a time (2026-11-24T03:00, today)"
            self.fail(f"{value!r} {why}", param, ctx)
        return moment


@main.command()
@arguments.optional_scope
@arguments.prefixes
@click.option(
    "--since",
    metavar="WHEN",
    type=Since(),
    help="Only what is not older: 30m, 2h, 3d, today, 2026-11-24T03:00 (local, or with a zone).",
)
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(0),
    help=f"Only the last N events. [default: all; with --follow and no --since {LINES}]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as stored.")
@click.option(
    "--follow", is_flag=True, help="Go on with what happens, until SIGTERM or ^C."
)
@click.pass_obj
def history(
    path: str,
    scope: str | None,
    prefixes: tuple[str, ...],
    since: float | None,
    lines: int | None,
    as_json: bool,
    follow: bool,
) -> None:
    """Show what became of the routes of this host and why, oldest first; or only those of
    SCOPE, or the PREFIXes.

    An event is a change, a refusal (Patroni or an override says no), or a failure of
    ExaBGP's. The time is local, that of the --json lines UTC; milliseconds count from the
    start of the process or of the reconciler's pass. A change by a callback or by hand has
    been tried without looking what stood before.
    """
    if follow:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
    config = configuration.load(path)
    found = History(config.state_dir)
    if lines is None and follow and since is None:
        lines = LINES
    earliest = stamp(since) if since is not None else ""
    backlog: deque[dict[str, Any]] = deque(maxlen=lines)
    named = begun = False
    for event in found.follow() if follow else chain(found.read(), [None]):
        if event is None:
            _print(backlog, as_json)
            backlog.clear()
            if not begun:
                backlog = deque()
                begun = True
                _tell(found)
                if scope and not named:
                    _check_names(config, scope, prefixes)
            if follow:
                time.sleep(PAUSE)
        elif scope in (None, event["scope"]) and (
            not prefixes or event["prefix"] in prefixes
        ):
            named = True
            if event["time"] >= earliest:
                backlog.append(event)


def _tell(found: History) -> None:
    """What is wrong with the files, or that there are none. Raises HistoryUnusable."""
    if found.trouble:
        raise HistoryUnusable(found.trouble)
    if found.skipped:
        log([f"{found.skipped} damaged lines of {found.path} are left out"])
    if found.empty():
        log([f"nothing has happened yet: there is no {found.path}"])


def _check_names(config: Config, scope: str, prefixes: Sequence[str]) -> None:
    """Names of which there is no event may be mistyped; others may have been configured
    once. Raises UnknownScope or UnknownPrefix."""
    named_routes(named_cluster(config, scope), prefixes)


def _print(events: Iterable[dict[str, Any]], as_json: bool) -> None:
    text = "\n".join(encode(event) if as_json else line(event) for event in events)
    if text:
        click.echo(text)


def line(event: dict[str, Any]) -> str:
    """One event for people."""
    prefix = event["prefix"]
    did = [
        str(event[key])
        for key in ("want", "have", "observation", "error")
        if event[key]
    ]
    told = "; ".join(
        text.replace(f" route {prefix}", "").replace(f"{prefix} ", "") for text in did
    )
    by = f"{event['trigger']}, {event['user']}, {event['milliseconds']:.0f} ms"
    # Patroni, a callback's arguments and the environment may say anything.
    return printable(
        f"{_local(event['time'])}  {event['cause']:9}  {event['scope']}  {prefix}"
        f"  {event['result']}: {told} ({by})"
    )


def _local(text: str) -> str:
    try:
        moment = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return text
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + text[19:23]


def _moment(text: str) -> float | None:
    """Seconds since 1970 of a time as ISO 8601 writes it; None where it is none."""
    text = re.sub(r"(?<=:\d\d)\.\d+", "", text)  # what is printed has milliseconds
    for form in FORMS:
        for zone in ("", "%z"):
            try:
                found = time.strptime(text, form + zone)
                if zone:
                    return max(0.0, float(calendar.timegm(found) - found.tm_gmtoff))
                return max(0.0, time.mktime(found))
            except (ValueError, OverflowError):
                continue
    return None
