"""What is said to ExaBGP 4.2 and 5.0 over its pipe, and how its answers are understood.

A conversation, `>` what pgcast writes and `<` what ExaBGP answers::

    > show neighbor 0.0.0.0 summary        (three times)
    > announce route 192.0.2.10/32 next-hop self med 99993
    > show adj-rib out extensive
    > show neighbor 0.0.0.0 summary
    < Peer            AS        up/down state       |     #sent     #recvd
    < done                                 (both three times)
    < done
    < neighbor 10.0.0.1 local-ip 10.0.0.11 local-as 65001 peer-as 65000
      router-id 10.0.0.11 family-allowed in-open ipv4 unicast 192.0.2.10/32
      next-hop 10.0.0.11 med 99993         (one line; 4.2.21 says "next-hop self")
    < done
    < Peer            AS        up/down state       |     #sent     #recvd
    < done

Answers carry no name, and those that nobody read are kept for whoever reads next, so
`done` alone proves nothing. The header of a neighbor summary (which matches no
neighbor) is the **mark**: what stands between the opening marks and the closing one is
the answer to what was written between them. Unlike `version` or an unknown command, it
keeps its place in the queue of commands. Marks work with `exabgp.api.ack=false` too,
where there is no `done`. Marks that a killed pgcast left unread are counted
(`Channel.unread_marks`); a summary that somebody asked for and did not read is not
three in a row.

`flush adj-rib out` and `clear adj-rib` are never sent: they end ExaBGP 4.2 when no
neighbor is up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Callable, NamedTuple, Protocol

from pgcast_hooks.errors import NoAnswer, Superseded
from pgcast_hooks.grammar import route
from pgcast_hooks.model import Neighbor, RibEntry

MARK = "show neighbor 0.0.0.0 summary"
SHOW_ADJ_RIB_OUT = "show adj-rib out extensive"
SHOW_NEIGHBORS = "show neighbor extensive"
SHOW_VERSION = "version"
OPENING = 3  # marks in a row; nobody else asks for so many summaries at once
QUIET = (
    0.25  # seconds of silence after which an answer that may be due is taken as lost
)

TERMINATORS = ("done", "error")

_MARK_ANSWER = re.compile(r"Peer +AS +up/down +state")
_VERSION_ANSWER = re.compile(r"exabgp \d\S*$")


class Channel(Protocol):
    """The transport while its lock is held: see `pgcast_hooks.pipe`."""

    path: str

    def send(self, lines: Sequence[str], marks: int, check: Callable[[], None]) -> None:
        """Write lines, of which `marks` are marks, with a `check` before each write.

        Raises PipeMissing, PipeUnusable, NoAnswer, and what `check` raises.
        """

    def receive(self, wait: float | None = None) -> str | None:
        """The next line of the answers; None after `wait` seconds, or at the deadline,
        without one."""

    def unread_marks(self) -> int:
        """How many marks were written, by whomever, whose answers nobody is known to
        have read."""

    def settled(self) -> None:
        """Note that every mark's answer has been read."""

    def waited(self) -> float:
        """Seconds since the lock was taken."""


class Answer(NamedTuple):
    """What one exchange told: Adj-RIB-Out after its commands, and how many of the
    commands were refused."""

    adj_rib_out: tuple[RibEntry, ...]
    refused: int
    version: str | None = None
    neighbors: tuple[Neighbor, ...] = ()


class Speaker:
    """Speaks with one ExaBGP, over a channel whose lock is held.

    `check` is called before commands are sent and after they were read back; it raises
    where somebody has acted in the meantime.
    """

    def __init__(self, channel: Channel, check: Callable[[], None]) -> None:
        self._channel = channel
        self._check = check
        self._version: str | None = None

    def exchange(
        self, commands: Iterable[str] = (), ask_all: bool = False, read: bool = True
    ) -> Answer:
        """Send commands and read Adj-RIB-Out back behind them; with `ask_all` also the
        neighbors and the version. Without `read` only wait until they are carried out.

        Each command is one that is answered with `done` or `error` only, and is
        idempotent: after answers that nobody read it is sent twice, first at once, so
        that a withdrawal does not wait, then again to be verified. Raises NoAnswer,
        UnexpectedAnswer, and what the channel and `check` raise.
        """
        commands = list(commands)
        if self._channel.unread_marks():
            self._settle(commands)
        shown = [SHOW_NEIGHBORS] * ask_all + [SHOW_ADJ_RIB_OUT] * read
        asked = [*[MARK] * OPENING, *commands, *shown, MARK]
        # The version is answered at once, before whatever was written with it.
        asked = [SHOW_VERSION, *asked] if ask_all else asked
        self._channel.send(asked, OPENING + 1, self._check)
        bracket = self._read_bracket(len(commands) + len(shown) + 1)
        self._channel.settled()
        if read:
            try:
                self._check()
            except Superseded as error:
                error.written = bool(commands)
                raise
        told = Answer(tuple(bracket.entries), bracket.refused, self._version)
        if ask_all:
            from pgcast_hooks.neighbors import parse  # a withdrawal does not ask

            return told._replace(neighbors=parse(bracket.others))
        return told

    def _settle(self, commands: Sequence[str]) -> None:
        """Read what earlier processes left behind, until what follows can only be ours.

        With n marks unread, n + 1 are written; once n + 1 answers were seen one of them
        is ours, and the rest of ours follows without a pause.
        """
        unread = self._channel.unread_marks()
        marks = unread + 1
        self._channel.send([*commands, *[MARK] * marks], marks, self._check)
        seen = 0
        while seen < 2 * unread + 1:
            line = self._channel.receive(QUIET if seen > unread else None)
            if line is None and seen > unread:
                break
            if line is None:
                raise NoAnswer(self._channel.path, self._channel.waited(), taken=True)
            seen += bool(_MARK_ANSWER.match(line))
        self._channel.settled()

    def _read_bracket(self, answers: int) -> _Bracket:
        """What stands between our opening and our closing mark.

        The opening is OPENING marks without a route between them, the closing the first
        mark with at least `answers` of `done` and `error` since the one before it. Where
        ExaBGP was told to say neither, a route or silence tells which mark was the last.
        """
        marks = 0
        acknowledged = False
        bracket = closed = _Bracket()
        while True:
            silent = marks > OPENING and not acknowledged
            line = self._channel.receive(QUIET if silent else None)
            if line is None and silent:
                return closed
            if line is None:
                raise NoAnswer(self._channel.path, self._channel.waited(), taken=True)
            if _MARK_ANSWER.match(line):
                closed, bracket = bracket, _Bracket()
                enough = closed.terminators >= answers
                if marks >= OPENING and (enough if acknowledged else closed.entries):
                    if acknowledged:
                        self._channel.receive(QUIET)  # the `done` of the closing mark
                    return closed
                marks = 1 if closed.entries else marks + 1
            elif _VERSION_ANSWER.match(line):
                self._version = line.split()[1]
            else:
                bracket.add(line)
                acknowledged |= marks > 0 and line in TERMINATORS


class _Bracket:
    """The lines between two marks."""

    def __init__(self) -> None:
        self.terminators = 0
        self.refused = 0
        self.entries: list[RibEntry] = []
        self.others: list[str] = []

    def add(self, line: str) -> None:
        if line in TERMINATORS:
            self.terminators += 1
            self.refused += line == "error"
        else:
            entry = route(line)
            if entry:
                self.entries.append(entry)
            else:
                self.others.append(line)
