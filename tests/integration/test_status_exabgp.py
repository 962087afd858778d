"""`pgcast status` with an ExaBGP that is down, hangs, or has a neighbor that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import CONFIG, VERSIONS, Exabgp
from tests.integration.patroni import FakePatroni, cluster, says
from tests.integration.pgcast import Pgcast
from tests.integration.test_status import CHANGED, GOOD, STANDS, WANTED, route, status
from tests.integration.waiting import until

SECOND = CONFIG.replace("neighbor 10.9.0.2", "neighbor 10.9.0.99")
HOST = """
   host HOST
{}
     reconciler   no loop runs, no pass is known
     maintenance  off
     state        STATE
"""
UNKNOWN = "?? HOST: 2 not known\n\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_neighbor_down_exabgp_hung_exabgp_down(
    version: str, tmp_path: Path, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """What stands for a neighbor without a session is not announced to it; what ExaBGP does not
    say is not known, and what Patroni says is shown all the same."""
    patroni.will_say([says(200, cluster())], "/cluster")
    with Exabgp(version, tmp_path, CONFIG + SECOND) as exabgp:
        bird.wait_established()
        pgcast.announce()
        bird.wait_table({"192.0.2.10/32": 99_993})
        code, out = status(pgcast)
        state = "active" if "active" in out else "idle"
        neighbors = f"""
   BGP neighbors
     address    session      hold time  AS     for
     10.9.0.2   established  ~        65000  ~
!!   10.9.0.99  {state:<11}  ~        65000  ~
"""
        verdict = (
            "ANNOUNCED to 10.9.0.2 (MED 99993), NOT YET to 10.9.0.99 (no BGP session)"
        )
        waits = STANDS.replace("10.9.0.2", "10.9.0.99").replace("  ", "!!", 1)
        assert (code, out) == (
            75,
            "!! HOST: 1 not as it must be\n\n"
            + route(
                f"{verdict}  as it must be",
                WANTED,
                STANDS,
                f"{waits}; no BGP session",
                CHANGED,
            )
            + neighbors
            + HOST.format("     ExaBGP       VERSION on /run/exabgp/exabgp.in"),
        )
        not_known = route(
            "NOT KNOWN  must be announced (MED 99993)", WANTED, CHANGED, level="??"
        )
        with exabgp.stopped():
            assert status(pgcast) == (
                69,
                UNKNOWN
                + not_known
                + HOST.format(
                    "??   ExaBGP       ExaBGP took the commands on /run/exabgp/exabgp.in but did"
                    " not answer them all within ~: its log tells more, 'pgcast show' the result"
                ),
            )
    assert status(pgcast) == (
        69,
        UNKNOWN
        + not_known
        + HOST.format(
            "??   ExaBGP       ExaBGP is not reading /run/exabgp/exabgp.in: is it running, and was"
            " it started after the pipe was made (mkfifo)?"
        ),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_no_neighbor_is_up(
    version: str, tmp_path: Path, pgcast: Pgcast, patroni: FakePatroni
) -> None:
    """Adj-RIB-Out is as it must be, and yet nobody was told."""
    patroni.will_say([says(200, cluster())], "/cluster")
    with Exabgp(version, tmp_path, SECOND) as exabgp:
        until(exabgp.reads, "a reader")
        pgcast.announce()
        code, out = status(pgcast)
    assert code == 75
    assert (
        "!! 192.0.2.10/32  main primary  ANNOUNCED, but NOT YET to 10.9.0.99 (no BGP session)\n"
        in out
    )
    assert GOOD not in out
