"""From what is wanted to what stands: commands in batches, the pipe's lock held for one at
a time, and the read-back behind the last as the verdict.

What callback, operator and reconciler do alike, whatever made them want it. The routes of a
callback are one batch; who announces all routes of a host lets others in between.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pgcast_hooks import compare, exabgp, grammar
from pgcast_hooks.errors import (
    NoAnswer,
    NotApplied,
    PgcastError,
    PipeBusy,
    PipeMissing,
    PipeUnusable,
    Rejected,
    Superseded,
)
from pgcast_hooks.hands import Host
from pgcast_hooks.model import (
    Announcement,
    Neighbor,
    Prefix,
    RibEntry,
    Want,
)
from pgcast_hooks.witness import NOBODY, Witness

BATCH = 100  # commands; ExaBGP is busy with them for some 0.1 s


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
    with _accounted(hands, want, reasons) as done:
        return _send(hands, want, seen, done)


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
    with _accounted(hands, part, reasons, wrong) as done:
        withdrawals = () if dry_run else _withdrawals(want)
        with _speaker(hands, withdrawals, seen) as speaker:
            answer = speaker.exchange(ask_all=True)
        witness.answered(answer)
        wrong.update(compare.differences(want, answer.adj_rib_out, answer.neighbors))
        if wrong and not dry_run:
            part.update((prefix, want[prefix]) for prefix in wrong)
            _send(hands, part, seen, done, answer.neighbors, witness)
        return wrong


@contextlib.contextmanager
def _accounted(
    hands: Host,
    want: Want,
    reasons: Mapping[Prefix, str],
    have: Mapping[Prefix, Sequence[str]] | None = None,
) -> Iterator[list[Prefix]]:
    """Have the history tell of what is wanted at the end, when the pipe is free again.

    Yields a list for the routes whose commands were carried out before the last batch.
    """
    failure: PgcastError | None = None
    done: list[Prefix] = []
    told = want
    try:
        yield done
    except Superseded as error:
        if not done:
            raise  # it is tried again
        failure, told = error, {prefix: want[prefix] for prefix in done}
    except PgcastError as error:
        failure = error
    written = {
        prefix: "; ".join(commands(hands, prefix, must))
        for prefix, must in told.items()
    }
    concerned = _concerned(failure, told, done) if failure else []
    hands.account.acted(written, reasons, have, dict.fromkeys(concerned, str(failure)))
    if failure:
        raise failure


def _concerned(error: PgcastError, want: Want, done: Sequence[Prefix]) -> set[Prefix]:
    """The routes that an error is about: all that were not done before, unless the
    read-back says which."""
    if not isinstance(error, (NotApplied, Rejected)):
        return set(want).difference(done)
    words = {line.partition(" ")[0] for line in error.differences}
    return {prefix for prefix in want if str(prefix) in words}


def read(hands: Host) -> exabgp.Answer:
    """What Adj-RIB-Out holds, the neighbors, and ExaBGP's version. Raises what pipe and
    speaker raise."""
    with _speaker(hands, (), None) as speaker:
        return speaker.exchange(ask_all=True)


def commands(
    hands: Host, prefix: Prefix, announcement: Announcement | None
) -> list[str]:
    """What is written to ExaBGP for one prefix."""
    if announcement is None:
        return [grammar.withdraw(prefix, hands.paths.get(prefix))]
    return grammar.announce(announcement)


def _send(
    hands: Host,
    want: Want,
    seen: str | None,
    done: list[Prefix],
    neighbors: Sequence[Neighbor] = (),
    witness: Witness = NOBODY,
) -> tuple[RibEntry, ...]:
    """Carry out commands batch by batch, withdrawals first, and read all back behind the
    last; `done` gets the routes of those before it.

    Each batch is only written if nobody acted since the generation `seen`. An announcement that
    stands changes it before the pipe is let go: whoever has an older no of Patroni's, or saw an
    older order, must look again before it withdraws this.
    """
    withdrawals = _withdrawals(want)
    left = [*withdrawals, *(prefix for prefix in want if want[prefix])]
    refused = 0
    wrong: dict[Prefix, list[str]] = {}
    while True:
        batch, rest = left[:BATCH], left[BATCH:]
        lines = [c for prefix in batch for c in commands(hands, prefix, want[prefix])]
        later = withdrawals[len(done) + len(batch) :]
        try:
            with _speaker(hands, withdrawals[len(done) :], seen) as speaker:
                answer = speaker.exchange(lines, read=not rest)
                extra = compare.excess(want, answer.adj_rib_out)
                if extra:  # no announcement replaces it, nor a plain withdrawal
                    answer = speaker.exchange(map(grammar.withdraw_entry, extra))
                if not rest:
                    wrong = compare.differences(want, answer.adj_rib_out, neighbors)
                    stand = [p for p in want if want[p] and p not in wrong]
                    if seen is not None and stand:
                        hands.state.raise_generation()
        except Superseded as error:
            if error.written:  # the history tells of it all the same
                done += batch
            raise
        except NoAnswer:
            _check(hands, seen)
            _shout(hands, later, math.inf)  # it has waited long enough
            raise
        refused += answer.refused
        if not rest:
            break
        done += batch
        left = rest
    witness.answered(answer)
    if wrong:
        lines = [line for lines in wrong.values() for line in lines]
        raise Rejected(lines) if refused else NotApplied(lines)
    return tuple(entry for entry in answer.adj_rib_out if entry.prefix in want)


def _withdrawals(want: Want) -> list[Prefix]:
    return [prefix for prefix, wanted in want.items() if wanted is None]


def _shout(hands: Host, withdrawals: Sequence[Prefix], waited: float) -> None:
    """Write withdrawals without the lock, after `waited` seconds for it."""
    for prefix in withdrawals:
        for line in commands(hands, prefix, None):
            hands.pipe.shout(line, waited)


@contextlib.contextmanager
def _speaker(
    hands: Host, withdrawals: Sequence[Prefix], seen: str | None
) -> Iterator[exabgp.Speaker]:
    """The speaker while the lock is held and nobody acted since the generation `seen`.

    `withdrawals` are written all the same where the lock cannot be had.
    """
    with contextlib.ExitStack() as held:
        try:
            channel = held.enter_context(hands.pipe.locked())
        except (PipeBusy, PipeMissing, PipeUnusable) as error:
            _check(hands, seen)
            waited = error.waited if isinstance(error, PipeBusy) else 0.0
            _shout(hands, withdrawals, waited)
            if isinstance(error, PipeBusy):
                error.written = bool(withdrawals)
            raise
        yield exabgp.Speaker(channel, partial(_check, hands, seen))


def _check(hands: Host, seen: str | None) -> None:
    if seen is not None and seen != hands.state.generation():
        raise Superseded
