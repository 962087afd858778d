"""Passes one after the other: at every interval, and at once when ExaBGP is back from a restart
or somebody acted; or tried until ExaBGP answers.
"""

from __future__ import annotations

import logging
import time

from pgcast_hooks.account import without_figures
from pgcast_hooks.apply import apply
from pgcast_hooks.errors import NoAnswer, PgcastError, PipeBusy, PipeMissing
from pgcast_hooks.hands import Host
from pgcast_hooks.presence import Presence
from pgcast_hooks.reconcile import Pass, reconcile
from pgcast_hooks.settings import Config
from pgcast_hooks.witness import NOBODY, Witness

GLANCE = 1.0  # seconds between two looks whether somebody acted
RETRY = 0.2  # seconds until the next pass after one that failed at ExaBGP
# Seconds, or as long as the last pass took: a Patroni that starts has its PostgreSQL up, as a
# replica, some 0.2 s after it answers.
IN_GRACE = 0.05

log = logging.getLogger(__name__)


def single(hands: Host, config: Config, wait: float, witness: Witness) -> Pass:
    """Make the pass of a timer, or of an ExaBGP that starts: try for `wait` seconds until it
    answers. Raises what `reconcile` raises."""
    end = time.monotonic() + wait
    while True:
        try:
            return reconcile(hands, config, witness=witness)
        except (PipeMissing, NoAnswer, PipeBusy):
            if time.monotonic() + RETRY >= end:
                raise
        time.sleep(RETRY)


def loop(
    hands: Host,
    config: Config,
    interval: float,
    stop: int,
    withdraw_on_exit: bool,
    witness: Witness = NOBODY,
) -> None:
    """Make passes until the file descriptor `stop` becomes readable.

    Trouble is logged when it begins, when it changes and when it ends. Raises PgcastError
    only for the withdrawal on exit.
    """
    presence = Presence(hands.pipe.path, stop)
    standing: tuple[str, ...] = ()
    presence.wait(0.001)  # hold the pipe, if somebody reads it
    while not presence.over():
        pause, start = interval, time.monotonic()
        seen = hands.state.generation()
        try:
            done = reconcile(hands, config, interval=interval, witness=witness)
        except PgcastError as error:
            trouble: tuple[str, ...] = (str(error),)
            pause = min(interval, RETRY)
        else:
            trouble = done.unknown
            if (
                done.in_grace
            ):  # when it is back, its PostgreSQL may be no primary any more
                pause = min(interval, max(IN_GRACE, time.monotonic() - start))
            if done.expiry is not None:
                pause = min(pause, done.expiry)
            for line in done.differences.values():
                log.info("%s", line)
        trouble = (*trouble, *hands.troubles())
        if witness.trouble:
            trouble = (*trouble, witness.trouble)
        _tell(standing, trouble)
        standing = trouble
        _wait(presence, hands, pause, seen)
    if withdraw_on_exit:
        routes = [
            route.prefix
            for cluster in config.clusters.values()
            for route in cluster.routes
        ]
        reasons = dict.fromkeys(routes, "the reconciler ends")
        apply(hands, dict.fromkeys(routes), reasons)
        log.info("every route is withdrawn: the reconciler ends")


def _wait(presence: Presence, hands: Host, pause: float, seen: str) -> None:
    """Wait for the next pass, or for a reason to make it now: ExaBGP is back, or somebody
    acted since the generation `seen`, who may have given an order that ends before the pass is
    due. So a pass that announces is followed by another, which changes nothing."""
    end = time.monotonic() + pause
    while not presence.over():
        left = end - time.monotonic()
        if left <= 0 or presence.wait(min(left, GLANCE)):
            return
        if hands.state.generation() != seen:
            return


def _tell(before: tuple[str, ...], now: tuple[str, ...]) -> None:
    for line in now:
        if without_figures(line) not in map(without_figures, before):
            log.warning("%s", line)
    if before and not now:
        log.info("all is known and in line again")
