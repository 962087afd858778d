"""From what is wanted to what stands: one exchange with ExaBGP under the pipe's lock,
and the read-back as the verdict.

What callback, operator and reconciler do alike, whatever made them want it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pgcast_hooks import exabgp, policy
from pgcast_hooks.account import Account
from pgcast_hooks.errors import (
    NotApplied,
    PgcastError,
    PipeBusy,
    PipeMissing,
    PipeUnusable,
    Rejected,
    Superseded,
)
from pgcast_hooks.history import History
from pgcast_hooks.model import Announcement, Config, Prefix, RibEntry, Want
from pgcast_hooks.override import Overrides
from pgcast_hooks.pipe import Pipe, locate
from pgcast_hooks.state import State
from pgcast_hooks.witness import NOBODY, Witness


class Host(NamedTuple):
    """This host's hands: ExaBGP's pipe, and what outlives a process."""

    pipe: Pipe
    state: State
    overrides: Overrides
    account: Account

    def troubles(self) -> list[str]:
        """What could not be read or written since this was asked last, though nothing
        waited for it."""
        found = [file.trouble for file in self.files() if file.trouble]
        for file in self.files():
            file.trouble = None
        return found

    def files(self) -> tuple[State, Overrides, History]:
        """Each with a `trouble`, which is None where there is none."""
        return self.state, self.overrides, self.account.history


def host(config: Config, cause: str = "", trigger: str = "") -> Host:
    """The hands that a configuration names; nothing is opened yet.

    `cause` and `trigger`, as in `model.Event`, are for whoever acts.
    """
    settings = config.exabgp
    base = locate(settings.pipe)
    state = State(config.state_dir, base)
    scopes = {
        route.prefix: cluster.scope
        for cluster in config.clusters.values()
        for route in cluster.routes
    }
    return Host(
        Pipe(base, state, settings.timeout, settings.lock_timeout),
        state,
        Overrides(config.state_dir),
        Account(History(config.state_dir), cause, trigger, scopes),
    )


def apply(
    hands: Host, want: Want, reasons: Mapping[Prefix, str], seen: str | None = None
) -> tuple[RibEntry, ...]:
    """Announce and withdraw, whatever stands; returns what then stands of it.

    `reasons` are for the history. `seen` is the generation before Patroni was asked; None
    where nobody was asked, as for a withdrawal. Raises Superseded when the generation has
    moved since, Rejected or NotApplied when the routes read back differ, and what pipe and
    speaker raise. Withdrawals that cannot get the lock, or no answers, are written all the
    same before PipeBusy, PipeMissing or PipeUnusable is raised.
    """
    with _accounted(hands, want, reasons), _speaker(hands, want, seen) as speaker:
        return _send(speaker, want)


def align(
    hands: Host,
    want: Want,
    reasons: Mapping[Prefix, str],
    seen: str,
    dry_run: bool = False,
    witness: Witness = NOBODY,
) -> dict[Prefix, list[str]]:
    """Change only what differs from what is wanted; returns what did, in words.

    A dry run changes nothing. Raises what `apply` raises.
    """
    wrong: dict[Prefix, list[str]] = {}
    part: dict[Prefix, Announcement | None] = {}
    with _accounted(hands, part, reasons, wrong), _speaker(
        hands, want, seen
    ) as speaker:
        answer = speaker.exchange(ask_all=witness.curious)
        witness.answered(answer)
        wrong.update(policy.differences(want, answer.adj_rib_out))
        if wrong and not dry_run:
            part.update((prefix, want[prefix]) for prefix in wrong)
            _send(speaker, part, witness)
        return wrong


@contextlib.contextmanager
def _accounted(
    hands: Host,
    want: Want,
    reasons: Mapping[Prefix, str],
    have: Mapping[Prefix, Sequence[str]] | None = None,
) -> Iterator[None]:
    """Have the history tell of what is wanted at the end, when the pipe is free again."""
    failure: PgcastError | None = None
    try:
        yield
    except Superseded:
        raise  # it is tried again
    except PgcastError as error:
        failure = error
    commands = {prefix: command(prefix, must) for prefix, must in want.items()}
    concerned = _concerned(failure, want) if failure else []
    hands.account.acted(commands, reasons, have, dict.fromkeys(concerned, str(failure)))
    if failure:
        raise failure


def _concerned(error: PgcastError, want: Want) -> list[Prefix]:
    """The routes that an error is about: all, unless the read-back says which."""
    if not isinstance(error, (NotApplied, Rejected)):
        return list(want)
    words = {line.partition(" ")[0] for line in error.differences}
    return [prefix for prefix in want if str(prefix) in words]


def read(hands: Host) -> exabgp.Answer:
    """What Adj-RIB-Out holds, the neighbors, and ExaBGP's version. Raises what pipe and
    speaker raise."""
    with _speaker(hands, {}, None) as speaker:
        return speaker.exchange(ask_all=True)


def command(prefix: Prefix, announcement: Announcement | None) -> str:
    """What is written to ExaBGP for one prefix."""
    if announcement is None:
        return exabgp.withdraw(prefix)
    return exabgp.announce(announcement)


def _send(
    speaker: exabgp.Speaker, want: Want, witness: Witness = NOBODY
) -> tuple[RibEntry, ...]:
    answer = speaker.exchange(command(*item) for item in want.items())
    witness.answered(answer)
    wrong = policy.differences(want, answer.adj_rib_out)
    if wrong:
        lines = [line for lines in wrong.values() for line in lines]
        raise Rejected(lines) if answer.refused else NotApplied(lines)
    return tuple(entry for entry in answer.adj_rib_out if entry.prefix in want)


@contextlib.contextmanager
def _speaker(hands: Host, want: Want, seen: str | None) -> Iterator[exabgp.Speaker]:
    """The speaker while the lock is held and nobody acted since the generation `seen`."""

    def check() -> None:
        if seen is not None and seen != hands.state.generation():
            raise Superseded

    with contextlib.ExitStack() as held:
        try:
            channel = held.enter_context(hands.pipe.locked())
        except (PipeBusy, PipeMissing, PipeUnusable) as error:
            check()
            withdrawals = [prefix for prefix, wanted in want.items() if wanted is None]
            waited = error.waited if isinstance(error, PipeBusy) else 0.0
            for prefix in withdrawals:
                hands.pipe.shout(exabgp.withdraw(prefix), waited)
            if isinstance(error, PipeBusy):
                error.written = bool(withdrawals)
            raise
        yield exabgp.Speaker(channel, check)
