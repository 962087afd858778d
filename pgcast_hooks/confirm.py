"""Nothing is announced that Patroni does not confirm: ask, decide, apply; once, or
until it is announced.

Each question is its own little reconciliation: an answer that is known decides what
must stand, and what must stand is applied at once, under the generation that was read
before the question. An answer that is unknown changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from pgcast_hooks import asking, policy
from pgcast_hooks.apply import apply
from pgcast_hooks.errors import NotConfirmed, PgcastError, Superseded
from pgcast_hooks.hands import Host
from pgcast_hooks.model import (
    Announcement,
    Eligibility,
    Observation,
    Prefix,
    RibEntry,
    Route,
)
from pgcast_hooks.observe import decide, observe_routes
from pgcast_hooks.settings import Cluster

LOOKS = 5  # how often it looks again because somebody acted meanwhile
RETRY_EXABGP = 0.25  # seconds until the next try of an ExaBGP that failed


def confirm(
    hands: Host,
    cluster: Cluster,
    routes: Sequence[Route],
    wait: float,
    interval: float,
    word: str | None = None,
) -> list[str]:
    """Announce routes as soon as Patroni confirms them; asks every `interval` seconds
    for at most `wait` seconds.

    `word` is the role that a callback tells of: what the member was before is not waited for
    then. Returns a phrase for each route. Raises NotConfirmed for the first that was not
    confirmed in time, or the last error of ExaBGP where that was what stood in the way.
    """
    start = time.monotonic()
    attempt = _Attempt(hands, cluster, routes, word)
    limit = cluster.patroni.timeout  # for the first question, whatever `wait` is
    while True:
        pause = interval
        trouble: PgcastError | None = None
        try:
            attempt.make(limit)
        except Superseded as error:
            trouble = error
        except PgcastError as error:
            pause, trouble = RETRY_EXABGP, error
        if not attempt.pending:
            return attempt.said
        if time.monotonic() + pause >= start + wait:
            if trouble:
                raise trouble
            return attempt.ordered(time.monotonic() - start)
        time.sleep(pause)
        limit = max(interval, start + wait - time.monotonic())


def look(hands: Host, cluster: Cluster, routes: Sequence[Route]) -> list[str]:
    """Ask Patroni once and bring the routes in line; what is not known leaves a route
    as it stands.

    Returns a phrase for each route. Raises what `apply` raises.
    """
    attempt = _Attempt(hands, cluster, routes)
    attempt.make(cluster.patroni.timeout)
    return attempt.outcomes()


class _Attempt:
    """Routes on their way to being announced on Patroni's word: what is pending, what was
    made of it so far, and why."""

    def __init__(
        self,
        hands: Host,
        cluster: Cluster,
        routes: Iterable[Route],
        word: str | None = None,
    ) -> None:
        self._word = word
        self.pending: list[Route] = list(routes)
        self.said: list[str] = []
        self._reasons: dict[Prefix, str] = {}
        self._made: dict[Prefix, Announcement | None] = {}
        self._announced: dict[Prefix, str] = {}
        self._seen: dict[Route, Observation] = {}
        self._hands = hands
        self._cluster = cluster

    def make(self, limit: float) -> None:
        """One question for each role, within `limit` seconds, and all that follows.

        What was announced is asked about once more: the answer may have aged while ExaBGP
        was waited for, and what Patroni denies by now is withdrawn and pending again.
        Raises Superseded only when others acted all the time.
        """
        for _ in range(LOOKS):
            try:
                confirmed = self._follow(self.pending, limit)
                again = self._cluster.patroni.timeout
                confirmed = self._follow(confirmed, again, keep=True)
            except Superseded:
                self._made.clear()
                continue
            done = [*confirmed, *(r for r in self.pending if self._settled(r))]
            self.said += [self._outcome(route) for route in done]
            self.pending = [r for r in self.pending if r not in done]
            return
        raise Superseded

    def _settled(self, route: Route) -> bool:
        """Whether there is nothing to wait for: it is withdrawn, and the member has become
        what the callback told."""
        seen = self._seen.get(route)
        return (
            self._word is not None
            and seen is not None
            and seen.settled
            and self._counts(route, seen)
            and route.prefix in self._made
        )

    def _counts(self, route: Route, seen: Observation) -> bool:
        """Whether an answer is about what the callback told."""
        if self._word is None:
            return True
        return seen.question.role in policy.expected(self._word, route)

    def ordered(self, waited: float) -> list[str]:
        """What was said, if what is pending is announced all the same, on an operator's
        order. Raises NotConfirmed for the first route that is not."""
        said = self.outcomes()
        for route in self.pending:
            if not self._made.get(route.prefix):
                reason = self._reasons[route.prefix]
                raise NotConfirmed(str(route.prefix), reason, waited)
        return said

    def outcomes(self) -> list[str]:
        """What became of each route; those that are not announced are refused."""
        refused = [r.prefix for r in self.pending if not self._made.get(r.prefix)]
        self._hands.account.refused({p: self._reasons[p] for p in refused})
        return self.said + [self._outcome(route) for route in self.pending]

    def _outcome(self, route: Route) -> str:
        if self._made.get(route.prefix):
            return self._announced[route.prefix]
        left = route.prefix not in self._made
        does = "is left as it stands" if left else "is withdrawn"
        return f"{route.prefix} {does}: {self._reasons[route.prefix]}"

    def _follow(
        self, routes: Sequence[Route], limit: float, keep: bool = False
    ) -> list[Route]:
        """Ask, and apply what follows; returns the routes that are announced on Patroni's
        word after it.

        `keep`: the routes stand, and only an answer against them changes that.
        """
        seen = self._hands.state.generation()
        if not routes:
            return []
        observations = observe_routes(self._cluster, routes, self._hands.state, limit)
        want, confirmed = {}, []
        for route in routes:
            observation = asking.earned(route, observations)
            self._seen[route] = observation
            override = self._hands.overrides.standing(route.prefix)
            decision = decide(route, observation, override)
            if not decision.acts:
                cut_short = limit < self._cluster.patroni.timeout
                if keep:
                    confirmed.append(route)
                elif not cut_short or route.prefix not in self._reasons:
                    self._reasons[route.prefix] = decision.reason
                continue
            eligible = observation.eligibility is Eligibility.ELIGIBLE
            if decision.must and eligible and self._counts(route, observation):
                confirmed.append(route)
            made = route.prefix in self._made
            changes = not made or self._made[route.prefix] != decision.must
            if changes:
                want[route.prefix] = decision.must
            if changes or not keep:
                self._reasons[route.prefix] = decision.reason
        for prefix in want:
            self._made.pop(prefix, None)  # until it is read back
        entries = apply(self._hands, want, self._reasons, seen) if want else ()
        self._made.update(want)
        for prefix, must in want.items():
            if must:
                reason = self._reasons[prefix]
                self._announced[prefix] = _announced(prefix, entries, reason)
        return confirmed


def _announced(prefix: Prefix, entries: Iterable[RibEntry], reason: str) -> str:
    standing = [entry for entry in entries if entry.prefix == prefix]
    neighbors = ", ".join(entry.neighbor for entry in standing)
    fence = _fence(standing[0])
    return f"{prefix} is announced to {neighbors}{fence}: {reason}"


def _fence(entry: RibEntry) -> str:
    if entry.med is not None:
        return f" with MED {entry.med}"
    return (
        f" with local-preference {entry.local_preference}"
        if entry.local_preference is not None
        else ""
    )
