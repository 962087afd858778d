"""One look at everything: Patroni, ExaBGP and the state directory, side by side.

Changes nothing: no generation is raised, and Patroni's answer is not noted as known, because
nobody acts on it. Each source has its own bound in time and may fail by itself; what follows
from them is `pgcast_hooks.status.verdict`'s.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple, TypeVar

from pgcast_hooks import asking, bystander, observe, patroni, vip
from pgcast_hooks.apply import read
from pgcast_hooks.errors import PatroniUnreachable, PgcastError
from pgcast_hooks.hands import Host
from pgcast_hooks.model import (
    Eligibility,
    LastPass,
    Observation,
    Override,
    Prefix,
    RestAnswer,
)
from pgcast_hooks.settings import Cluster, Config
from pgcast_hooks.status import member
from pgcast_hooks.status.picture import Key, Seen, Silence, Status
from pgcast_hooks.status.verdict import combine

SPARE = 1.0  # seconds beyond a source's own bound until it is given up
FILES = 3.0  # seconds for the files of the state directory, which may be far away

T = TypeVar("T")


class _Kept(NamedTuple):
    """What the state directory says."""

    since_known: dict[Key, float | None]
    overrides: dict[Prefix, Override | None]
    last_changes: dict[Prefix, Mapping[str, Any] | None]
    reconciler: str | None
    last_pass: LastPass | None


def look(config: Config, chosen: Sequence[Cluster]) -> Status:
    """The status of the `chosen` clusters, with the routes that they name, and of this host."""
    hands = bystander.host(config)
    keys: dict[Key, Cluster] = {
        (cluster.scope, question): cluster
        for cluster in chosen
        for route in cluster.routes
        for question in route.questions
    }
    asked = _SideBySide()
    pipe = config.exabgp.lock_timeout + config.exabgp.timeout
    exabgp = asked.ask(lambda: read(hands), pipe)
    kept = asked.ask(lambda: _kept(hands, keys, chosen), FILES)
    observations = {
        key: asked.ask(_observing(cluster, key), cluster.patroni.timeout)
        for key, cluster in keys.items()
    }
    local = {
        cluster.scope: asked.ask(
            _asking(cluster, "patroni", member.local), cluster.patroni.timeout
        )
        for cluster in chosen
    }
    members = {
        cluster.scope: asked.ask(
            _asking(cluster, "cluster", member.members), cluster.patroni.timeout
        )
        for cluster in chosen
    }
    found = {key: _known(key, asking()) for key, asking in observations.items()}
    answer, remembered = exabgp(), kept()
    troubles = hands.troubles()
    if isinstance(remembered, Silence):
        troubles = [f"state directory {config.state_dir} {remembered.why}"]
        remembered = _nothing_kept(keys, chosen)
    seen = Seen(
        observations=found,
        carried={r.prefix: vip.carried(r.vip) for c in chosen for r in c.routes},
        local={scope: question() for scope, question in local.items()},
        members={scope: question() for scope, question in members.items()},
        exabgp=answer,
        troubles=tuple(dict.fromkeys(trouble for trouble in troubles if trouble)),
        **remembered._asdict(),
    )
    return combine(config, chosen, os.uname().nodename, hands.pipe.path, seen)


def _observing(cluster: Cluster, key: Key) -> Callable[[], Observation]:
    """The question that decides, by the same rule as everywhere."""
    return lambda: observe.look(cluster, key[1], cluster.patroni.timeout)


def _known(key: Key, observation: Observation | Silence) -> Observation:
    if isinstance(observation, Silence):
        why = f"Patroni {observation.why}"
        return Observation(Eligibility.UNKNOWN, why, question=key[1])
    return observation


def _asking(
    cluster: Cluster, path: str, understand: Callable[[RestAnswer], T | None]
) -> Callable[[], T]:
    """A question that only informs."""

    def ask() -> T:
        answer = patroni.ask(cluster.patroni, path, cluster.patroni.timeout)
        understood = understand(answer)
        if understood is None:
            why = f"gave no answer to understand (HTTP {answer.status})"
            raise PatroniUnreachable(f"{cluster.patroni.url}/{path}", why)
        return understood

    return ask


def _kept(
    hands: Host,
    keys: Iterable[Key],
    chosen: Iterable[Cluster],
) -> _Kept:
    state = hands.state
    prefixes = [route.prefix for cluster in chosen for route in cluster.routes]
    changes = hands.account.history.last_all()
    return _Kept(
        since_known={
            (scope, question): state.since_known(scope, asking.path(question))
            for scope, question in keys
        },
        overrides={prefix: hands.overrides.standing(prefix) for prefix in prefixes},
        last_changes={prefix: changes.get(str(prefix)) for prefix in prefixes},
        reconciler=state.reconciler(),
        last_pass=state.last_pass(),
    )


def _nothing_kept(keys: Iterable[Key], chosen: Iterable[Cluster]) -> _Kept:
    prefixes = [route.prefix for cluster in chosen for route in cluster.routes]
    nothing = dict.fromkeys(prefixes)
    return _Kept(dict.fromkeys(keys), dict(nothing), dict(nothing), None, None)


class _SideBySide:
    """Questions that are all under way at once.

    In threads of their own that are left behind when they are late, or when the process ends:
    whoever looks must neither wait for a hung source nor be kept by it.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()

    def ask(self, question: Callable[[], T], limit: float) -> Callable[[], T | Silence]:
        """Begin; what is returned waits for the answer, at most `limit` seconds from the
        beginning of all and a little. It raises what is a bug."""
        answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

        def run() -> None:
            try:
                answers.put(question())
            except Exception as error:  # of whatever kind: raised where it is awaited
                answers.put(error)

        threading.Thread(target=run, daemon=True).start()

        def answer() -> T | Silence:
            left = self._start + limit + SPARE - time.monotonic()
            try:
                said = answers.get(timeout=max(0.0, left))
            except queue.Empty:
                return Silence(f"did not answer within {limit + SPARE:.3g} s")
            if isinstance(said, PgcastError):
                return Silence(str(said))
            if isinstance(said, Exception):
                raise said
            return said

        return answer
