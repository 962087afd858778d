"""What no callback tells is repaired anyway: have and want, compared and brought in line.

A pass asks every Patroni, decides (an override first), reads Adj-RIB-Out and changes what differs.
If somebody else acts in the meantime, what the pass saw is thrown away and it looks again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pgcast_hooks import asking, policy
from pgcast_hooks.account import OPERATOR
from pgcast_hooks.apply import align
from pgcast_hooks.errors import PgcastError, Superseded
from pgcast_hooks.hands import Host
from pgcast_hooks.lastpass import cut
from pgcast_hooks.model import (
    Announcement,
    Eligibility,
    LastPass,
    Observation,
    Prefix,
    Question,
    Route,
)
from pgcast_hooks.observe import decide, observe_all
from pgcast_hooks.settings import Cluster, Config
from pgcast_hooks.witness import NOBODY, Witness

LOOKS = 5  # how often a pass looks again because somebody acted meanwhile

# For so long is a loop's last pass left to be found: longer than until a check finds it
# too old, which is critical.
LOOP_PASSES, LOOP_SECONDS = 10, 60.0


class Pass(NamedTuple):
    """What one pass found: all that is wanted and why, what differed from it, which are
    unknown and why, the seconds until the next override expires, and whether a Patroni that
    does not answer still has its grace."""

    want: dict[Prefix, Announcement | None]
    reasons: dict[Prefix, str]
    differences: dict[Prefix, str]
    unheard: dict[str, dict[Prefix, str]]
    expiry: float | None
    in_grace: bool

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is not known."""
        return tuple(self.unheard)


def reconcile(
    hands: Host,
    config: Config,
    dry_run: bool = False,
    interval: float | None = None,
    witness: Witness = NOBODY,
) -> Pass:
    """Make one pass; a dry run only tells what it would change.

    `interval` is that of the loop, for whoever asks for the last pass. Raises Superseded
    when others acted all the time, and what `align` raises.
    """
    start = time.monotonic()
    hands.account.begin()
    if not dry_run:
        hands.overrides.tidy(route.prefix for _, route in _routes(config))
    last = hands.state.last_pass()
    before = last.trouble if last else ()
    try:
        with witness:
            done = _pass(hands, config, dry_run, witness, single=interval is None)
    except PgcastError as error:
        if not dry_run:
            if hands.account.begun([cut(str(error))], before):
                routes = [route.prefix for _, route in _routes(config)]
                hands.account.failed(routes, str(error))
            _note(hands, start, last, LastPass(0.0, 0.0, 0, (str(error),), interval))
        raise
    if not dry_run:
        unheard = {cut(trouble): why for trouble, why in done.unheard.items()}
        for trouble in hands.account.begun(unheard, before):
            hands.account.refused(unheard[trouble])
        changed = len(done.differences)
        made = LastPass(0.0, 0.0, changed, tuple(done.unheard), interval)
        _note(hands, start, last, made)
    return done


def _note(hands: Host, start: float, last: LastPass | None, made: LastPass) -> None:
    """Leave how a pass went, unless that would hide a loop that has died.

    By what the last pass left, monitoring tells a loop that is gone from a timer. So what
    an operator's command does by the way is no pass of either; and a single pass leaves
    nothing while the last one of a loop is young. A host that changes to a timer is told by
    it after that.
    """
    if hands.account.cause == OPERATOR or (made.interval is None and _young_loop(last)):
        return
    files = [file.trouble for file in hands.files() if file.trouble]
    milliseconds = (time.monotonic() - start) * 1000
    trouble = (*made.trouble, *files)
    hands.state.note_pass(made._replace(milliseconds=milliseconds, trouble=trouble))


def _young_loop(last: LastPass | None) -> bool:
    """Whether it was a loop that made the last pass, of which another may yet be awaited."""
    return (
        last is not None
        and last.interval is not None
        and last.ago < last.interval * LOOP_PASSES + LOOP_SECONDS
    )


def _silent(
    config: Config, observations: Mapping[tuple[str, Question], Observation]
) -> list[Cluster]:
    """The clusters of which something is not known."""
    scopes = {
        scope
        for (scope, _), observation in observations.items()
        if observation.eligibility is Eligibility.UNKNOWN
    }
    return [cluster for scope, cluster in config.clusters.items() if scope in scopes]


def _pass(
    hands: Host, config: Config, dry_run: bool, witness: Witness, single: bool
) -> Pass:
    for _ in range(LOOKS):
        seen = hands.state.generation()
        observations = observe_all(config.clusters.values(), hands.state)
        if single:  # one question that is not answered in time must not end a grace
            observations |= observe_all(_silent(config, observations), hands.state)
        want: dict[Prefix, Announcement | None] = {}
        reasons: dict[Prefix, str] = {}
        unheard: dict[str, dict[Prefix, str]] = {}
        expiries = []
        graces = False
        for cluster, route in _routes(config):
            seen_of = {q: observations[cluster.scope, q] for q in route.questions}
            observation = asking.earned(route, seen_of)
            override = hands.overrides.standing(route.prefix)
            if override and override.left is not None:
                expiries.append(override.left)
            over = False
            if observation.eligibility is Eligibility.UNKNOWN:
                asked = asking.path(observation.question)
                since = hands.state.since_known(cluster.scope, asked)
                over = policy.expired(since, config.reconcile)
                graces |= policy.in_grace(since, config.reconcile)
                if not override:  # in a maintenance Patroni may well be gone
                    trouble = f"{cluster.scope}: {observation.reason}"
                    concerned = unheard.setdefault(trouble, {})
                    concerned[route.prefix] = observation.reason
            decision = decide(route, observation, override, over)
            if decision.acts:
                want[route.prefix] = decision.must
                reasons[route.prefix] = decision.reason
        witness.looked(observations, want)
        try:
            wrong = align(hands, want, reasons, seen, dry_run, witness)
        except Superseded:
            continue
        found = {
            prefix: f"{'; '.join(lines)}: {reasons[prefix]}"
            for prefix, lines in wrong.items()
        }
        expiry = min(expiries, default=None)
        return Pass(want, reasons, found, unheard, expiry, graces)
    raise Superseded


def _routes(config: Config) -> Iterator[tuple[Cluster, Route]]:
    for cluster in config.clusters.values():
        for route in cluster.routes:
            yield cluster, route
