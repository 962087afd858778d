"""From what is wanted to what stands: one exchange with ExaBGP under the pipe's lock,
and the read-back as the verdict.

What callback, operator and reconciler do alike, whatever made them want it.
"""

from __future__ import annotations

from typing import NamedTuple

from pgcast_hooks import exabgp, policy
from pgcast_hooks.errors import NotApplied, PipeBusy, Rejected, Superseded
from pgcast_hooks.model import Config, RibEntry, Want
from pgcast_hooks.pipe import Pipe, locate
from pgcast_hooks.state import State


class Host(NamedTuple):
    """This host's hands: ExaBGP's pipe and the state directory."""

    pipe: Pipe
    state: State


def host(config: Config) -> Host:
    """The hands that a configuration names; nothing is opened yet."""
    state = State(config.state_dir)
    settings = config.exabgp
    return Host(
        Pipe(locate(settings.pipe), state, settings.timeout, settings.lock_timeout),
        state,
    )


def apply(hands: Host, want: Want, seen: str | None = None) -> tuple[RibEntry, ...]:
    """Announce and withdraw until Adj-RIB-Out is as wanted; returns what it then holds
    of the wanted prefixes.

    `seen` is the generation before Patroni was asked; None where nobody was asked, as
    for a withdrawal. Raises Superseded when the generation has moved since, Rejected or
    NotApplied when the routes read back differ, and what pipe and speaker raise.
    Withdrawals that cannot get the lock are written all the same before PipeBusy is
    raised.
    """
    commands = [
        (
            exabgp.withdraw(prefix)
            if announcement is None
            else exabgp.announce(announcement)
        )
        for prefix, announcement in want.items()
    ]
    try:
        with hands.pipe.locked() as channel:
            if seen is not None and seen != hands.state.generation():
                raise Superseded
            answer = exabgp.Speaker(channel).exchange(commands)
    except PipeBusy as busy:
        withdrawals = [
            prefix for prefix, announcement in want.items() if announcement is None
        ]
        for prefix in withdrawals:
            hands.pipe.shout(exabgp.withdraw(prefix))
        raise PipeBusy(busy.path, busy.waited, written=bool(withdrawals)) from None
    wrong = policy.differences(want, answer.adj_rib_out)
    if wrong:
        raise Rejected(wrong) if answer.refused else NotApplied(wrong)
    return tuple(entry for entry in answer.adj_rib_out if entry.prefix in want)
