"""What is said to ExaBGP 4.2 and 5.0 over its pipe, and how its answers are understood.

A conversation, `>` what pgcast writes and `<` what ExaBGP answers::

    > show neighbor 0.0.0.0 summary
    > announce route 192.0.2.10/32 next-hop self med 99993
    > show adj-rib out extensive
    > show neighbor 0.0.0.0 summary
    < Peer            AS        up/down state       |     #sent     #recvd
    < done
    < done
    < neighbor 10.0.0.1 local-ip 10.0.0.11 local-as 65001 peer-as 65000 router-id 10.0.0.11 family-allowed in-open
      ipv4 unicast 192.0.2.10/32 next-hop 10.0.0.11 med 99993        (one line; 4.2.21 says "next-hop self")
    < done
    < Peer            AS        up/down state       |     #sent     #recvd
    < done

Answers carry no name, and those that nobody read are kept for whoever reads next, so
`done` alone proves nothing. The header of a neighbor summary (which matches no
neighbor) is the **mark**: what stands between two marks is the answer to what was
written between them. Unlike `version` or an unknown command, it keeps its place in the
queue of commands. Marks work with `exabgp.api.ack=false` too, where there is no `done`,
and where 4.2 swallows a command without an answer.

`flush adj-rib out` and `clear adj-rib` are never sent: they end ExaBGP 4.2 when no
neighbor is up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from pgcast_hooks.errors import NoAnswer, UnexpectedAnswer
from pgcast_hooks.model import Announcement, Prefix, RibEntry

MARK = "show neighbor 0.0.0.0 summary"
SHOW_ADJ_RIB_OUT = "show adj-rib out extensive"
SHOW_VERSION = "version"
QUIET = (
    0.25  # seconds of silence after which answers that were expected are taken as lost
)

_MARK_ANSWER = re.compile(r"Peer +AS +up/down +state")
_VERSION_ANSWER = re.compile(r"exabgp (\d\S*)$")
_ROUTE = re.compile(
    r"neighbor (?P<neighbor>\S+) (?:.* )?local-ip (?P<local>\S+) .*? (?P<family>ipv[46] unicast) (?P<prefix>\S+)"
    r"(?: path-information \S+)?(?P<attributes>(?: .*)?)$"
)
_ATTRIBUTE = re.compile(r"(?<= )(next-hop|med|local-preference) (\S+)")
_TERMINATORS = {"done": True, "error": False}


class Channel(Protocol):
    """The transport while its lock is held: see `pgcast_hooks.pipe`."""

    path: str

    def send(self, lines: Sequence[str], marks: int) -> None:
        """Write lines, of which `marks` are marks. Raises PipeMissing, PipeUnusable or
        NoAnswer."""

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


def announce(route: Announcement) -> str:
    """The command that announces a route to every neighbor."""
    command = f"announce route {route.prefix} next-hop {route.next_hop or 'self'}"
    if route.med is not None:
        command += f" med {route.med}"
    if route.local_preference is not None:
        command += f" local-preference {route.local_preference}"
    return command


def withdraw(prefix: Prefix) -> str:
    """The command that withdraws a prefix from every neighbor."""
    return f"withdraw route {prefix}"


def route(line: str) -> RibEntry | None:
    """A unicast route out of a line of `show adj-rib out extensive`; None for other
    lines and families.

    Raises UnexpectedAnswer for a unicast route that it cannot read.
    """
    match = _ROUTE.match(line)
    if match is None:
        if line.startswith("neighbor ") and (
            " ipv4 unicast " in line or " ipv6 unicast " in line
        ):
            raise UnexpectedAnswer(line)
        return None
    attributes = dict(_ATTRIBUTE.findall(match["attributes"]))
    try:
        return RibEntry(
            neighbor=match["neighbor"],
            local=match["local"],
            prefix=ipaddress.ip_network(match["prefix"]),
            next_hop=attributes["next-hop"],
            med=int(attributes["med"]) if "med" in attributes else None,
            local_preference=(
                int(attributes["local-preference"])
                if "local-preference" in attributes
                else None
            ),
        )
    except (KeyError, ValueError) as error:
        raise UnexpectedAnswer(line) from error


class Speaker:
    """Speaks with one ExaBGP, over a channel whose lock is held."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def exchange(self, commands: Iterable[str] = ()) -> Answer:
        """Send commands, each answered with `done` or `error` only, and read
        Adj-RIB-Out back behind them.

        Commands must be idempotent: after answers that nobody read they are sent twice,
        first at once, so that a withdrawal does not wait, then again to be verified.
        Raises NoAnswer, UnexpectedAnswer, and what the channel raises.
        """
        commands = list(commands)
        if self._channel.unread_marks():
            self._settle(commands)
        self._channel.send([MARK, *commands, SHOW_ADJ_RIB_OUT, MARK], marks=2)
        bracket = self._read_bracket(len(commands) + 2)
        self._channel.settled()
        return bracket.answer()

    def version(self) -> str | None:
        """ExaBGP's version, None where it does not say (its answer may have been
        lost)."""
        return self.exchange([SHOW_VERSION]).version

    def _settle(self, commands: Sequence[str]) -> None:
        """Read every answer that an earlier process left behind, until what follows can
        only be ours.

        With n marks unread, n + 1 are written; once n + 1 answers were seen one of them
        is ours, and the rest of ours follows without a pause.
        """
        unread = self._channel.unread_marks()
        self._channel.send([*commands, *[MARK] * (unread + 1)], marks=unread + 1)
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
        """What stands between two marks with at least `answers` of `done` and `error`,
        or with none at all.

        Fewer than that, and the first mark was not ours, or ExaBGP has swallowed a
        command: the next mark tells, or silence does.
        """
        bracket: _Bracket | None = None
        closed: _Bracket | None = None
        while True:
            line = self._channel.receive(QUIET if closed else None)
            if line is None:
                if closed:
                    return closed
                raise NoAnswer(self._channel.path, self._channel.waited(), taken=True)
            if _MARK_ANSWER.match(line):
                closed, bracket = bracket, _Bracket(answers)
                if closed and closed.terminators == 0:
                    return closed
                if closed and closed.terminators >= answers:
                    self._channel.receive(QUIET)  # the `done` of the closing mark
                    return closed
            elif bracket:
                bracket.add(line)


class _Bracket:
    """The lines between two marks."""

    def __init__(self, answers: int) -> None:
        self.terminators = 0
        self._answers = answers
        self._refused = 0
        self._version: str | None = None
        self._entries: list[RibEntry] = []

    def add(self, line: str) -> None:
        done = _TERMINATORS.get(line)
        version = _VERSION_ANSWER.match(line)
        if done is not None:
            self.terminators += 1
            self._refused += not done
        elif version:
            self._version = version[1]
        else:
            entry = route(line)
            if entry:
                self._entries.append(entry)

    def answer(self) -> Answer:
        swallowed = self._answers - self.terminators if self.terminators else 0
        return Answer(
            tuple(self._entries), self._refused + max(0, swallowed), self._version
        )
