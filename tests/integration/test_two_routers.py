"""Two neighbors of one ExaBGP: what stands for one of them only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.bird import Bird
from tests.integration.exabgp import CONFIG, VERSIONS, Exabgp
from tests.integration.patroni import FakePatroni
from tests.integration.pgcast import Pgcast
from tests.integration.test_ipv6 import CONFIG as SIX
from tests.integration.test_reconcile import SILENT
from tests.integration.waiting import until


@pytest.mark.parametrize("version", VERSIONS)
def test_a_route_that_one_router_lacks(
    version: str, tmp_path: Path, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Withdrawn from one neighbor by hand, it is announced to it again; the other keeps it."""
    pgcast.routes[0]["next_hop"] = "10.9.0.1"
    with Exabgp(version, tmp_path, CONFIG + SIX) as exabgp:
        bird.wait_established()
        bird.wait_established("six")
        assert pgcast.run("reconcile")[0] == 0
        until(lambda: bird.count() == 2, "the route from both sessions")
        assert pgcast.run("reconcile") == SILENT
        exabgp.write("neighbor 2001:db8:9::2 withdraw route 192.0.2.10/32")
        until(lambda: bird.count() == 1, "the withdrawal")
        code, _, said = pgcast.run("reconcile")
        assert code == 0
        assert "is not announced to 2001:db8:9::2, must be announced" in said
        until(lambda: bird.count() == 2, "the route from both sessions")
        assert pgcast.run("reconcile") == SILENT
    bird.wait_table({})
