"""All that a check looks at on one host: asked side by side, and bounded in time.

Judges nothing and changes nothing: no route, no generation, no record of an answer. The one
exchange with ExaBGP is that of `pgcast show`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from pgcast_hooks import apply, bystander, endpoint, timekeeping
from pgcast_hooks.check import (
    access,
    callbacks,
    clock,
    member,
    network,
    process,
    settings,
    user,
)
from pgcast_hooks.check.standing import Running
from pgcast_hooks.errors import PgcastError
from pgcast_hooks.exabgp import Answer
from pgcast_hooks.hands import Host
from pgcast_hooks.model import LastPass, Override, Prefix
from pgcast_hooks.settings import Cluster, Config

TRY_SECONDS = 3.0  # for all that one user tries
LEAST = 0.5  # seconds for what is begun when there is no time any more
SHARE = 0.3  # of the time there is: one round of questions to one Patroni


class Facts(NamedTuple):
    """What was found. A cluster that is not in `members`, and an `exabgp` of None, gave no
    answer in time: `late` names them. `silent` is why the state directory gave none: then
    nothing of what is kept there is known."""

    account: user.Account
    tried: Mapping[str, access.Tried]
    blind: str | None
    silent: str | None
    room: access.Room | None
    sources: Mapping[str, settings.Source | None]
    trouble: Mapping[str, str | None]
    wrappers: tuple[str, ...]
    members: Mapping[str, member.Look]
    vips: Mapping[Prefix, network.Carried]
    certificates: Mapping[str, Mapping[str, float]]
    exabgp: Answer | None
    exabgp_error: PgcastError | None
    network: network.Network | None
    running: Running
    interval: float | None
    overrides: Mapping[Prefix, Override]
    now: float
    synchronised: bool | None
    late: tuple[str, ...]


def gather(
    config: Config, path: str, patroni_config: str | None, deadline: float
) -> Facts:
    """Look at everything until `deadline`, a reading of the monotonic clock."""
    hands = bystander.host(config)
    patronis = process.patronis()
    found = settings.sources(patronis, patroni_config)
    sources = {scope: _source(scope, found) for scope in config.clusters}
    first, silent = _first_look(hands.state.reconciler_path, _share(deadline))
    reconciler = process.look(first.pid) if first.pid else None
    account = _account(first.owner, sources)
    commands = [settings.effective(one, None) for one in sources.values() if one]
    lines = [line for one in commands for line in one.callbacks.values()]
    lines += [one.before_stop for one in commands if one.before_stop]
    programs = {callbacks.program(line).path for line in lines}
    read = [os.path.abspath(path)]
    for cluster in config.clusters.values():
        read += endpoint.files(cluster.patroni).values()
    secret = endpoint.secret(config.clusters.values(), read[0])
    pipe = hands.pipe.path[: -len(".in")]
    tried, blind = _try(
        [account, *([reconciler.account] if reconciler else [])],
        lambda: access.try_all(
            read, pipe, None if silent else config.state_dir, programs, secret
        ),
        deadline,
    )
    looks = _Looks(max(deadline, time.monotonic() + LEAST))
    share = _share(deadline)
    if not silent:
        looks.start(config.state_dir, lambda: _kept(hands, config))
        looks.start("ExaBGP", lambda: _exabgp(hands))  # counts its marks there
    for cluster in config.clusters.values():
        looks.start(cluster.scope, _of_cluster(cluster, share))
    results = looks.results()
    answer, error, net = results.pop("ExaBGP", (None, None, None))
    kept = results.pop(config.state_dir, NOTHING_KEPT)
    if config.state_dir in looks.late:
        silent = "gave no whole answer in the time there was"
    last = kept.last
    return Facts(
        account=account,
        tried=tried,
        blind=blind,
        silent=silent,
        room=kept.room,
        sources=sources,
        trouble=tried[account.name]["programs"] if account.name in tried else {},
        wrappers=tuple(filter(callbacks.wraps, programs)),
        members={scope: found[0] for scope, found in results.items()},
        vips={key: v for found in results.values() for key, v in found[1].items()},
        certificates={scope: found[2] for scope, found in results.items()},
        exabgp=answer,
        exabgp_error=error,
        network=net,
        running=Running(first.pid, last),
        interval=(
            last.interval
            if last and last.interval
            else process.interval_of(reconciler.argv) if reconciler else None
        ),
        overrides=kept.overrides,
        now=clock.wall(),
        synchronised=timekeeping.synchronised(),
        late=tuple(name for name in looks.late if name != config.state_dir),
    )


def _source(scope: str, found: list[settings.Source]) -> settings.Source | None:
    """The configuration of a cluster's Patroni, where it can be told."""
    named = [one for one in found if one.scope == scope]
    silent = [one for one in found if one.scope is None]
    return next(iter(named), silent[0] if len(silent) == 1 else None)


class _First(NamedTuple):
    """Who holds the reconciler's lock, and whose the state directory is; 0: root's, or nobody
    knows."""

    pid: int | None
    owner: int


def _first_look(lock: str, seconds: float) -> tuple[_First, str | None]:
    """What decides as whom the rest is tried; or why nothing is known of the directory.

    In a child: a file system that has gone away holds for ever whoever asks it for a file.
    """
    directory = os.path.dirname(lock)

    def look() -> dict[str, Any]:
        try:
            owner = os.stat(directory).st_uid
        except OSError:
            owner = 0
        return _First(process.lock_holder(lock), owner)._asdict()

    try:
        return _First(**user.attempt(user.current(), look, seconds)), None
    except user.CannotTry as error:
        return _First(None, 0), str(error)


def _share(deadline: float) -> float:
    """The seconds for one of several things that are done one after the other."""
    return max(LEAST, deadline - time.monotonic()) * SHARE


def _account(owner: int, sources: Mapping[str, settings.Source | None]) -> user.Account:
    """The user that Patroni runs as; while none runs, whom the state directory belongs to."""
    for source in sources.values():
        if source and source.process:
            return source.process.account
    usual = user.of(owner) if owner else user.named("postgres")
    return usual or user.current()


def _try(
    accounts: list[user.Account],
    function: Callable[[], dict[str, Any]],
    deadline: float,
) -> tuple[dict[str, access.Tried], str | None]:
    """What each user may do; and why it could not be tried, where Patroni's could not."""
    tried: dict[str, access.Tried] = {}
    me = user.current()
    blind = None
    for index, account in enumerate(accounts):
        if account.name in tried or account.uid == 0 != me.uid:
            continue
        try:
            seconds = min(TRY_SECONDS, _share(deadline))
            if me.uid not in (0, account.uid):
                raise user.CannotTry("only root may become another user")
            tried[account.name] = user.attempt(account, function, seconds)
        except user.CannotTry as error:
            if index == 0:
                blind = f"{me.name} cannot try what {account.name} may do: {error}"
    return tried, blind


def _exabgp(
    hands: Host,
) -> tuple[Answer | None, PgcastError | None, network.Network | None]:
    try:
        answer: Answer | None = apply.read(hands)
        error: PgcastError | None = None
    except PgcastError as raised:
        answer, error = None, raised
    neighbors = [one.address for one in answer.neighbors] if answer else []
    return answer, error, network.look(neighbors)


Found = tuple[member.Look, dict[Prefix, network.Carried], dict[str, float]]


def _of_cluster(cluster: Cluster, limit: float) -> Callable[[], Found]:
    def look() -> Found:
        told = member.look(cluster, clock.wall, limit)
        vips = {r.prefix: network.carried(r.vip, told.port) for r in cluster.routes}
        ends = {}
        if cluster.patroni.url.startswith("https:") and told.member.answer:
            ends = clock.ends_of_certificates(cluster.patroni, limit)
        return told, vips, ends

    return look


class _Kept(NamedTuple):
    """What the state directory says."""

    last: LastPass | None
    overrides: Mapping[Prefix, Override]
    room: access.Room | None


NOTHING_KEPT = _Kept(None, {}, None)


def _kept(hands: Host, config: Config) -> _Kept:
    prefixes = [r.prefix for c in config.clusters.values() for r in c.routes]
    standing = {prefix: hands.overrides.standing(prefix) for prefix in prefixes}
    return _Kept(
        hands.state.last_pass(),
        {prefix: override for prefix, override in standing.items() if override},
        access.room(config.state_dir),
    )


class _Looks:
    """Looks under way; those that are late are left behind."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._found: dict[str, Any] = {}
        self._failed: list[BaseException] = []
        self._threads: dict[str, threading.Thread] = {}
        self.late: tuple[str, ...] = ()

    def start(self, name: str, look: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                self._found[name] = look()
            except BaseException as error:  # raised again where it is awaited
                self._failed.append(error)

        self._threads[name] = threading.Thread(target=run, daemon=True)
        self._threads[name].start()

    def results(self) -> dict[str, Any]:
        for thread in self._threads.values():
            thread.join(max(0.0, self._deadline - time.monotonic()))
        for error in self._failed:
            raise error
        found = dict(self._found)
        self.late = tuple(name for name in self._threads if name not in found)
        return found
