"""What no callback tells is repaired anyway: have and want, compared and brought in line.

A pass asks every Patroni, decides, reads Adj-RIB-Out and changes what differs. If a callback
or an operator acts in the meantime, what the pass saw is thrown away and it looks again. The
loop runs a pass at every interval, and at once when ExaBGP is back from a restart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

from pgcast_hooks import policy
from pgcast_hooks.apply import Host, align, apply
from pgcast_hooks.errors import PgcastError, Superseded
from pgcast_hooks.model import (
    Announcement,
    Cluster,
    Config,
    Eligibility,
    LastPass,
    Prefix,
    Route,
)
from pgcast_hooks.observe import observe_all, wanted
from pgcast_hooks.presence import Presence

LOOKS = 5  # how often a pass looks again because somebody acted meanwhile
RETRY = 0.2  # seconds until the next pass after one that failed at ExaBGP

log = logging.getLogger(__name__)


class Pass(NamedTuple):
    """What one pass found: all that is wanted, what differed from it, and what is unknown."""

    want: dict[Prefix, Announcement | None]
    differences: dict[Prefix, str]
    unknown: tuple[str, ...]


def reconcile(hands: Host, config: Config, dry_run: bool = False) -> Pass:
    """Make one pass; a dry run only tells what it would change.

    Raises Superseded when others acted all the time, and what `align` raises.
    """
    for _ in range(LOOKS):
        seen = hands.state.generation()
        observations = observe_all(config.clusters.values(), hands.state)
        want: dict[Prefix, Announcement | None] = {}
        reasons: dict[Prefix, str] = {}
        unknown: dict[str, None] = {}
        for cluster, route in _routes(config):
            observation = observations[cluster.scope, route.role]
            if observation.eligibility is Eligibility.UNKNOWN:
                unknown[f"{cluster.scope}: {observation.reason}"] = None
                since = hands.state.since_known(cluster.scope, route.role)
                if not policy.expired(since, config.reconcile):
                    continue  # what stands, stands
            want[route.prefix], reasons[route.prefix] = wanted(route, observation)
        try:
            wrong = align(hands, want, seen, dry_run)
        except Superseded:
            continue
        found = {
            prefix: f"{'; '.join(lines)}: {reasons[prefix]}"
            for prefix, lines in wrong.items()
        }
        return Pass(want, found, tuple(unknown))
    raise Superseded


def loop(
    hands: Host, config: Config, interval: float, stop: int, withdraw_on_exit: bool
) -> None:
    """Make passes until the file descriptor `stop` becomes readable.

    Trouble is logged when it begins, when it changes and when it ends. Raises PgcastError
    only for the withdrawal on exit.
    """
    presence = Presence(hands.pipe.path, stop)
    standing: tuple[str, ...] = ()
    presence.wait(0.001)  # hold the pipe, if somebody reads it
    while not presence.over():
        pause, changed, start = interval, 0, time.monotonic()
        hands.state.trouble = None  # what was mended meanwhile is trouble no more
        try:
            done = reconcile(hands, config)
        except PgcastError as error:
            trouble: tuple[str, ...] = (str(error),)
            pause = min(interval, RETRY)
        else:
            trouble, changed = done.unknown, len(done.differences)
            for line in done.differences.values():
                log.info("%s", line)
        if hands.state.trouble:
            trouble = (*trouble, hands.state.trouble)
        took = (time.monotonic() - start) * 1000
        hands.state.note_pass(LastPass(0.0, took, changed, trouble, interval))
        _tell(standing, trouble)
        standing = trouble
        presence.wait(pause)
    if withdraw_on_exit:
        apply(hands, {route.prefix: None for _, route in _routes(config)})
        log.info("every route is withdrawn: the reconciler ends")


def _tell(before: tuple[str, ...], now: tuple[str, ...]) -> None:
    for line in now:
        if _kind(line) not in map(_kind, before):
            log.warning("%s", line)
    if before and not now:
        log.info("all is known and in line again")


def _kind(line: str) -> str:
    """A line without its figures, which change from pass to pass."""
    return "".join(letter for letter in line if not letter.isdigit())


def _routes(config: Config) -> Iterator[tuple[Cluster, Route]]:
    for cluster in config.clusters.values():
        for route in cluster.routes:
            yield cluster, route
