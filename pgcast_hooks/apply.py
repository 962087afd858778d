"""From what is wanted to what stands: one exchange with ExaBGP under the pipe's lock,
and the read-back as the verdict.

What callback, operator and reconciler do alike, whatever made them want it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from pgcast_hooks import exabgp, policy
from pgcast_hooks.errors import (
    NotApplied,
    PipeBusy,
    PipeMissing,
    PipeUnusable,
    Rejected,
    Superseded,
)
from pgcast_hooks.model import Announcement, Config, Prefix, RibEntry, Want
from pgcast_hooks.override import Overrides
from pgcast_hooks.pipe import Pipe, locate
from pgcast_hooks.state import State


class Host(NamedTuple):
    """This host's hands: ExaBGP's pipe and the state directory."""

    pipe: Pipe
    state: State
    overrides: Overrides


def host(config: Config) -> Host:
    """The hands that a configuration names; nothing is opened yet."""
    state = State(config.state_dir)
    settings = config.exabgp
    return Host(
        Pipe(locate(settings.pipe), state, settings.timeout, settings.lock_timeout),
        state,
        Overrides(config.state_dir),
    )


def apply(hands: Host, want: Want, seen: str | None = None) -> tuple[RibEntry, ...]:
    """Announce and withdraw, whatever stands; returns what then stands of it.

    `seen` is the generation before Patroni was asked; None where nobody was asked, as
    for a withdrawal. Raises Superseded when the generation has moved since, Rejected or
    NotApplied when the routes read back differ, and what pipe and speaker raise.
    Withdrawals that cannot get the lock, or no answers, are written all the same before
    PipeBusy, PipeMissing or PipeUnusable is raised.
    """
    with _speaker(hands, want, seen) as speaker:
        return _send(speaker, want)


def align(
    hands: Host, want: Want, seen: str, dry_run: bool = False
) -> dict[Prefix, list[str]]:
    """Change only what differs from what is wanted; returns what did, in words.

    A dry run changes nothing. Raises what `apply` raises.
    """
    with _speaker(hands, want, seen) as speaker:
        wrong = policy.differences(want, speaker.exchange().adj_rib_out)
        if wrong and not dry_run:
            _send(speaker, {prefix: want[prefix] for prefix in wrong})
        return wrong


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


def _send(speaker: exabgp.Speaker, want: Want) -> tuple[RibEntry, ...]:
    answer = speaker.exchange(command(*item) for item in want.items())
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
