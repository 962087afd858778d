"""The grammar of ExaBGP, and the verdict under every disorder that its answers can be
in."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Sequence
from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcast_hooks import exabgp, grammar
from pgcast_hooks.errors import NoAnswer, UnexpectedAnswer
from pgcast_hooks.model import Announcement, Neighbor, RibEntry

HEADER = "Peer            AS        up/down state       |     #sent     #recvd"
NAME = (
    "neighbor 10.0.0.1 local-ip 10.0.0.11 local-as 65001 peer-as 65000"
    " router-id 10.0.0.11 family-allowed in-open"
)
V4 = ipaddress.ip_network("192.0.2.10/32")
V6 = ipaddress.ip_network("2001:db8::1/128")


@pytest.mark.parametrize(
    ("announcement", "command"),
    [
        (Announcement(V4, None), "announce route 192.0.2.10/32 next-hop self"),
        (
            Announcement(V4, None, med=99_993),
            "announce route 192.0.2.10/32 next-hop self med 99993",
        ),
        (
            Announcement(V6, ipaddress.ip_address("2001:db8::9"), local_preference=107),
            "announce route 2001:db8::1/128 next-hop 2001:db8::9 local-preference 107",
        ),
        (
            Announcement(
                V4,
                None,
                100,
                as_path=(65001, 65001),
                communities=("65000:100", "65535:0"),
                large_communities=("65000:1:2",),
                extended_communities=("target:65000:100",),
                path_information="0.0.0.7",
            ),
            "announce route 192.0.2.10/32 path-information 0.0.0.7 next-hop self med 100"
            " as-path [ 65001 65001 ] community [ 65000:100 65535:0 ]"
            " large-community [ 65000:1:2 ] extended-community [ target:65000:100 ]",
        ),
    ],
)
def test_announce(announcement: Announcement, command: str) -> None:
    """The command names prefix, next-hop and fence, in ExaBGP's words."""
    assert grammar.announce(announcement) == [command]


def test_withdraw() -> None:
    """A withdrawal needs the prefix only."""
    assert grammar.withdraw(V6) == "withdraw route 2001:db8::1/128"


def test_some_neighbors_only() -> None:
    """A command for each: ExaBGP tells everybody otherwise."""
    route = Announcement(V4, None, neighbors=("10.0.0.1", "fd00::1"))
    assert grammar.announce(route) == [
        "neighbor 10.0.0.1 announce route 192.0.2.10/32 next-hop self",
        "neighbor fd00::1 announce route 192.0.2.10/32 next-hop self",
    ]
    entry = ROUTE._replace(path_information="0.0.0.7")
    assert (
        grammar.withdraw_entry(entry)
        == "neighbor 10.0.0.1 withdraw route 192.0.2.10/32 path-information 0.0.0.7"
    )


ROUTE = RibEntry("10.0.0.1", "10.0.0.11", V4, "10.0.0.11", 990)


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        # 4.2.21
        (
            f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop self med 990",
            ROUTE._replace(next_hop="self"),
        ),
        # 4.2.25 and 5.0.15
        (f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop 10.0.0.11 med 990", ROUTE),
        (
            f"{NAME} ipv4 unicast 192.0.2.10/32 path-information 0.0.0.1 next-hop 10.0.0.11"
            " local-preference 3 community 65000:1",
            ROUTE._replace(
                med=None,
                local_preference=3,
                communities=("65000:1",),
                path_information="0.0.0.1",
            ),
        ),
        (
            f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop 10.0.0.11 as-path [ 65001 65001 ] med 990"
            " community [ 65000:100 65535:0 no-export ] extended-community target:65000:100"
            " large-community [ 65000:1:2 4200000000:3:4 ]",
            ROUTE._replace(
                as_path=(65001, 65001),
                communities=("65000:100", "65535:0", "65535:65281"),
                extended_communities=("target:65000:100",),
                large_communities=("65000:1:2", "4200000000:3:4"),
            ),
        ),
        (
            f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop 10.0.0.11 as-path ( 65001 ) med 990"
            " community blackhole",
            ROUTE._replace(as_path=(65001,), communities=("65535:666",)),
        ),
        (
            f"{NAME} ipv6 unicast 2001:db8::1/128 next-hop 2001:db8::9 as-path [ 65001 ] med 5",
            ROUTE._replace(prefix=V6, next_hop="2001:db8::9", med=5, as_path=(65001,)),
        ),
        (f"{NAME} ipv4 flow flow destination-ipv4 192.0.2.1/32", None),
        (f"{NAME} ipv4 mpls-vpn 192.0.2.1/32 rd 1:1", None),
        ("done", None),
        ("", None),
        ("127.0.0.2       65000        down idle                  0          0", None),
    ],
)
def test_a_line_of_adj_rib_out(line: str, entry: RibEntry | None) -> None:
    """Lines as each version prints them."""
    assert grammar.route(line) == entry


@pytest.mark.parametrize(
    "rest", ["", "192.0.2.10/33 next-hop self", "192.0.2.10/32 med 5"]
)
def test_a_route_that_cannot_be_read_is_an_error(rest: str) -> None:
    """A route that might be ours is never overlooked in silence."""
    with pytest.raises(UnexpectedAnswer, match="cannot read"):
        grammar.route(f"{NAME} ipv4 unicast {rest}")


EXTENSIVE = """Neighbor 10.0.0.1

    Session                       Local
   local                      10.0.0.11
   state                    ESTABLISHED
   up for                1 day, 2:03:04

    Setup                         Local          Remote
   AS                             65001           65000
   ID                         10.0.0.11        10.0.0.1
   hold-time                        180               9

    Capability                    Local          Remote
   route-refresh:              disabled         enabled
   graceful-restart:            enabled         enabled

    Families                      Local          Remote        Add-Path
   ipv4 unicast:                enabled         enabled disabled
   ipv6 unicast:                enabled        disabled disabled

Neighbor 10.0.0.2

  Session                         Local
   local                      10.0.0.11
   state                         ACTIVE
   down for                     0:00:05

  Setup                           Local          Remote
   AS                             65001             n/a
   hold-time                        180             n/a

  Capability                      Local          Remote
   graceful-restart:            enabled             n/a
"""
NEIGHBORS = (
    Neighbor(
        "10.0.0.1",
        "10.0.0.11",
        "established",
        93_784,
        65000,
        9,
        True,
        ("ipv4 unicast",),
    ),
    Neighbor("10.0.0.2", "10.0.0.11", "active", 5, None, 180),
)


class Exabgp:
    """An ExaBGP whose pipe helper kept answers that nobody read: a `Channel` without
    files.

    Speaks the real protocol as 4.2 and 5.0 do; what it cannot show is time, so a wait
    that would pass without an answer passes at once.
    """

    path = "exabgp.in"

    def __init__(
        self, kept: Sequence[str] = (), unread: int = 0, ack: bool = True
    ) -> None:
        self.rib: dict[str, str] = {}
        self.written: list[str] = []
        self.answers = deque(kept)
        self.unread = unread
        self.ack = ack
        self.swallowed = ""
        self.silent = False

    def send(
        self, lines: Sequence[str], marks: int, check: Callable[[], None] = lambda: None
    ) -> None:
        check()
        assert marks == lines.count(exabgp.MARK)
        self.unread += marks
        self.written += lines
        for line in lines:
            if line != self.swallowed:
                self._obey(line)

    def receive(self, wait: float | None = None) -> str | None:
        return self.answers.popleft() if self.answers and not self.silent else None

    def unread_marks(self) -> int:
        return self.unread

    def settled(self) -> None:
        self.unread = 0

    def waited(self) -> float:
        return 0.0

    def _obey(self, line: str) -> None:
        words = line.split()
        done = "done"
        if line == exabgp.MARK:
            self.answers.append(HEADER)
        elif line == exabgp.SHOW_ADJ_RIB_OUT:
            self.answers += self.rib.values()
        elif words[:2] == ["announce", "route"]:
            self.rib[words[2]] = f"{NAME} ipv4 unicast {' '.join(words[2:])}"
        elif words[:2] == ["withdraw", "route"]:
            self.rib.pop(words[2], None)
        elif line == exabgp.SHOW_NEIGHBORS:
            self.answers += EXTENSIVE.splitlines()
        elif line == exabgp.SHOW_VERSION:
            self.answers.append("exabgp 5.0.15")
        else:
            done = "error"
        if self.ack:
            self.answers.append(done)


def speaker(peer: Exabgp) -> exabgp.Speaker:
    return exabgp.Speaker(peer, lambda: None)


ANNOUNCE = grammar.announce(Announcement(V4, None, med=990))[0]
WITHDRAW = grammar.withdraw(V4)


def left_behind(command: str) -> list[str]:
    """What an exchange that nobody read leaves in the pipe."""
    other = Exabgp()
    other.rib = {
        "192.0.2.10/32": f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop self med 1"
    }
    marks = [exabgp.MARK] * exabgp.OPENING
    other.send([*marks, command, exabgp.SHOW_ADJ_RIB_OUT, exabgp.MARK], len(marks) + 1)
    return list(other.answers)


@pytest.mark.parametrize("ack", [True, False])
def test_an_exchange(ack: bool) -> None:
    """Commands, then Adj-RIB-Out read back behind them, with and without `done`."""
    peer = Exabgp(ack=ack)
    answer = speaker(peer).exchange([ANNOUNCE])
    assert [entry.med for entry in answer.adj_rib_out] == [990]
    assert answer.refused == 0
    assert peer.unread == 0
    assert not peer.answers
    assert speaker(peer).exchange([WITHDRAW]).adj_rib_out == ()


def test_a_refused_command_is_counted() -> None:
    """`error` between the marks belongs to the commands."""
    answer = speaker(Exabgp()).exchange(["nonsense", ANNOUNCE])
    assert answer.refused == 1
    assert len(answer.adj_rib_out) == 1


def test_a_swallowed_command_is_an_error() -> None:
    """4.2 gives no answer at all where a handler raises."""
    peer = Exabgp()
    peer.swallowed = "announce route 192.0.2.11/32 next-hop 300.1.1.1"
    with pytest.raises(NoAnswer, match="did not answer them all"):
        speaker(peer).exchange([peer.swallowed, ANNOUNCE])


@pytest.mark.parametrize("ack", [True, False])
@pytest.mark.parametrize("commands", [[], [ANNOUNCE]])
def test_all_that_can_be_asked(ack: bool, commands: list[str]) -> None:
    """`version` is answered at once, so its answer may stand before the first mark."""
    answer = speaker(Exabgp(ack=ack)).exchange(commands, ask_all=True)
    assert answer.version == "5.0.15"
    assert answer.neighbors == NEIGHBORS
    assert len(answer.adj_rib_out) == len(commands)


def test_silence_is_an_error() -> None:
    """Without answers there is no verdict."""
    peer = Exabgp()
    peer.silent = True
    with pytest.raises(NoAnswer, match="did not answer them all"):
        speaker(peer).exchange([WITHDRAW])


def test_a_withdrawal_does_not_wait_for_old_answers() -> None:
    """With answers unread, the command goes out before they are read."""
    peer = Exabgp(left_behind(ANNOUNCE), unread=4)
    speaker(peer).exchange([WITHDRAW])
    assert peer.written[0] == WITHDRAW


@pytest.mark.parametrize("version", [True, False])
def test_a_summary_that_somebody_did_not_read(version: bool) -> None:
    """Ctrl-C in exabgpcli, an echo into the pipe: a mark that is not ours, and what followed it."""
    row = "10.0.0.1        65000     0:10:00 established           1          0"
    for rest in ([], [row], [row, "done"], ["done"] * 4, ["error", "done", "done"]):
        for kept in ([HEADER, *rest], [HEADER, "done", HEADER, *rest]):
            peer = Exabgp(kept)
            assert len(speaker(peer).exchange([ANNOUNCE], version).adj_rib_out) == 1
            peer = Exabgp(kept)
            peer.rib = {
                "192.0.2.10/32": f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop self"
            }
            assert len(speaker(peer).exchange((), version).adj_rib_out) == 1


def test_a_check_after_the_read_back() -> None:
    """Whoever acted while ExaBGP was waited for is noticed."""
    peer = Exabgp()
    moments = iter([None, PermissionError])

    def check() -> None:
        if next(moments):
            raise PermissionError

    with pytest.raises(PermissionError):
        exabgp.Speaker(peer, check).exchange([ANNOUNCE])
    assert peer.unread == 0


noise = st.sampled_from(
    [
        "done",
        "error",
        "",
        "exabgp 4.2.25",
        f"{NAME} ipv4 unicast 192.0.2.10/32 next-hop self med 7",
    ]
)


@given(
    kept=st.lists(noise, max_size=8),
    killed=st.lists(st.sampled_from([ANNOUNCE, WITHDRAW]), max_size=3),
    cut=st.integers(0, 40),
    ack=st.booleans(),
    command=st.sampled_from([ANNOUNCE, WITHDRAW]),
)
def test_old_answers_never_make_a_verdict(
    kept: list[str], killed: list[str], cut: int, ack: bool, command: str
) -> None:
    """Whatever earlier processes left behind, in whole or in part, the verdict is about
    our own command.

    `kept` is what others wrote without reading (shell scripts, and lines of a reader
    that was killed), `killed` are exchanges of pgcast that nobody read, of whose
    answers the first `cut` lines are lost.
    """
    lines = [line for one in killed for line in left_behind(one)]
    lines = kept + lines[cut:]
    if not ack:
        lines = [line for line in lines if line not in ("done", "error")]
    peer = Exabgp(lines, unread=4 * len(killed), ack=ack)
    answer = speaker(peer).exchange([command])
    assert [entry.med for entry in answer.adj_rib_out] == (
        [990] if command == ANNOUNCE else []
    )
    assert answer.refused == 0
    assert peer.unread == 0
