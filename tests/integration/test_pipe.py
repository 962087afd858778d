"""The pipe in every state that it can be in, between the real scripts and the real ExaBGP."""

from __future__ import annotations

import re
import signal
import threading
import time

from pgcast_hooks.exabgp import MARK, SHOW_ADJ_RIB_OUT
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

ANNOUNCED = {"192.0.2.10/32": 99_993}


WITHDREW = (0, "withdrew 192.0.2.10/32")


def test_answers_that_nobody_read(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """A shell script wrote five commands; their `done` are no verdict on ours."""
    for _ in range(3):
        exabgp.write(
            *["announce route 192.0.2.10/32 next-hop self med 1"] * 5, "nonsense"
        )
        pgcast.announce()
        bird.wait_table(ANNOUNCED)
        exabgp.write(*["withdraw route 192.0.2.11/32"] * 5, "show neighbor summary")
        assert pgcast.withdraw() == WITHDREW
        bird.wait_table({})


def test_exchanges_that_nobody_read(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """pgcast was killed three times between writing and reading: old routes are no verdict."""
    pgcast.announce()
    for _ in range(3):
        exabgp.write(
            MARK, MARK, MARK, "withdraw route 192.0.2.10/32", SHOW_ADJ_RIB_OUT, MARK
        )
    (pgcast.state / "unread-marks").write_text(f"{12:<16}")
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    for _ in range(2):
        exabgp.write(
            MARK, "announce route 192.0.2.10/32 next-hop self", SHOW_ADJ_RIB_OUT, MARK
        )
    (pgcast.state / "unread-marks").write_text(f"{8:<16}")
    assert pgcast.withdraw() == WITHDREW
    bird.wait_table({})
    assert (pgcast.state / "unread-marks").read_text().strip() == "0"


def test_a_hung_exabgp_and_its_recovery(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """It took the withdrawal and says nothing: an error now, and the right thing once it goes on."""
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    with exabgp.stopped():
        start = time.monotonic()
        code, said = pgcast.withdraw()
        assert code == 69
        assert (
            f"took the commands on {PIPE}.in but did not answer them all within 2.0 s"
            in said
        )
        assert time.monotonic() - start < 10
    bird.wait_table({})
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
    assert pgcast.withdraw() == WITHDREW


def test_a_reload(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """For some tenths of a second after SIGUSR1 nobody reads the pipe."""
    pgcast.announce()
    exabgp.process.send_signal(signal.SIGUSR1)
    until(lambda: not exabgp.reads(), "the moment without a reader")
    assert pgcast.withdraw() == WITHDREW
    bird.wait_table({})


def test_a_large_adj_rib_out(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """Far more than the 64 KiB of a pipe is read back, and the route found in it."""
    pgcast.document["exabgp"]["timeout"] = 10
    others = [f"10.{n // 256}.{n % 256}.0/24" for n in range(1500)]
    for start in range(0, len(others), 50):
        exabgp.write(
            *(
                f"announce route {prefix} next-hop self"
                for prefix in others[start : start + 50]
            )
        )
    pgcast.announce()
    code, out, _ = pgcast.run("show")
    assert code == 0
    assert len(out) > 65536
    assert len(re.findall(r"^-", out, re.M)) == len(others)
    assert pgcast.withdraw() == WITHDREW
    bird.wait_table(dict.fromkeys(others))


def test_an_ipv6_route_over_an_ipv4_session_without_its_next_hop(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Each version fails in its own way; none of them is taken for a success."""
    pgcast.routes[0]["prefix"] = "2001:db8::10/128"  # next_hop: self
    code, said = pgcast.callback("on_start", "primary", "main")
    failures = {
        "4.2.21": (75, "must be an IPv6 address: set next_hop"),
        "4.2.25": (69, "did not answer them all"),  # a command without an answer
        "5.0.15": (76, "ExaBGP rejected a command"),
    }
    assert code == failures[exabgp.version][0]
    assert failures[exabgp.version][1] in said
    assert bird.table() == {}
    pgcast.routes[0]["next_hop"] = "2001:db8::10"
    pgcast.announce()
    bird.wait_table({"2001:db8::10/128": 99_993})


def test_many_at_once_agree_with_the_table(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Twelve callbacks at once, half of them announcing: none fails but for being busy, the next decides."""
    wrong: list[str] = []

    def call(action: str) -> None:
        code, said = pgcast.callback(action, "primary", "main")
        if code not in (0, 75):
            wrong.append(said)

    pgcast.start(
        "callback"
    ).communicate()  # writes the configuration before they race for it
    threads = [
        threading.Thread(target=call, args=(("on_start", "on_stop")[n % 2],))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pgcast.withdraw() == WITHDREW
    bird.wait_table({})
    pgcast.announce()
    bird.wait_table(ANNOUNCED)
