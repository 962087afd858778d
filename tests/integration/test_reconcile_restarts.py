"""ExaBGP ends, reloads, loses its pipe helper: the loop brings the route back without waiting for its next pass."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import VERSIONS, Exabgp
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

DROP_IN = Path(__file__).parents[2] / "examples" / "exabgp-pgcast.conf"
ANNOUNCED = {"192.0.2.10/32": 99_993}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
@pytest.mark.parametrize("version", VERSIONS)
def test_exabgp_restarts_or_reloads(
    version: str, number: signal.Signals, tmp_path: Path, bird: Bird, pgcast: Pgcast
) -> None:
    """It forgets every route when it ends; the loop has an hour to the next pass, and notices."""
    with Exabgp(version, tmp_path) as exabgp:
        process = pgcast.start("cli", "reconcile", "--interval", "3600")
        try:
            bird.wait_table(ANNOUNCED)
            exabgp.process.send_signal(number)
            if number != signal.SIGUSR1:
                exabgp.process.wait(20)
                bird.wait_table({})
                exabgp.start()
            until(lambda: bird.table() != {}, "the route at the router", 15)
            bird.wait_table(ANNOUNCED)
        finally:
            process.kill()
            process.communicate()


def test_what_systemd_starts_behind_a_slow_exabgp(
    tmp_path: Path, bird: Bird, pgcast: Pgcast
) -> None:
    """It takes seconds to its first answer, where it cannot resolve its host's name."""
    command = re.search(
        r"^ExecStartPost=.*/pgcast (.*)$", DROP_IN.read_text(), re.MULTILINE
    )
    assert command
    pgcast.document["exabgp"]["timeout"] = 0.3
    with Exabgp(VERSIONS[-1], tmp_path) as exabgp:
        with exabgp.stopped():
            assert pgcast.run("reconcile")[0] == 69
            (pgcast.state / "last-pass").unlink()
            one_pass = pgcast.start("cli", *command[1].split())
            until((pgcast.state / "last-pass").exists, "its first try")
        _, said = one_pass.communicate(timeout=30)
        assert (one_pass.returncode, "is withdrawn, must be" in said) == (0, True), said
        bird.wait_table(ANNOUNCED)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pipe_helper_is_killed(
    version: str, tmp_path: Path, bird: Bird, pgcast: Pgcast
) -> None:
    """ExaBGP starts another; what it is asked then is answered, and in line."""
    with Exabgp(version, tmp_path) as exabgp:
        process = pgcast.start("cli", "reconcile", "--interval", "3600")
        try:
            bird.wait_table(ANNOUNCED)
            children = f"/proc/{exabgp.process.pid}/task/{exabgp.process.pid}/children"
            (helper,) = Path(children).read_text().split()
            os.kill(int(helper), signal.SIGKILL)
            until(
                lambda: Path(children).read_text().split() not in ([], [helper]),
                "another",
            )
            process.terminate()
            assert process.wait(10) == 0
            until(exabgp.reads, "a reader")
            exabgp.write("withdraw route 192.0.2.10/32")
            bird.wait_table({})
            assert pgcast.run("reconcile")[0] == 0
            bird.wait_table(ANNOUNCED)
        finally:
            process.kill()
            process.communicate()
