"""The `pgcast` command as a process: stdout, stderr and exit code, and the router's table."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler

import pytest
import yaml

from pgcast_hooks import __version__
from tests.integration.bird import Bird
from tests.integration.exabgp import PIPE, Exabgp, make_pipe
from tests.integration.patroni import PRIMARY, FakePatroni
from tests.integration.pgcast import Pgcast

TWO = {"192.0.2.10/32": 99_993, "192.0.2.11/32": 99_993}


@pytest.fixture
def pgcast(pgcast: Pgcast) -> Pgcast:
    """With a second route."""
    pgcast.routes.append({"prefix": "192.0.2.11/32", "role": "primary"})
    return pgcast


@pytest.mark.any_version
def test_all_routes_or_those_that_are_named(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast
) -> None:
    """Twice is as good as once."""
    for _ in range(2):
        code, out, err = pgcast.run("auto", "main")
        assert (code, out) == (0, "")
        assert (
            err.count("is announced to 10.9.0.2 with MED 99993: primary on timeline 7")
            == 2
        )
        bird.wait_table(TWO)
    for _ in range(2):
        code, out, err = pgcast.run("withdraw", "main", "192.0.2.11/32")
        assert (code, out) == (0, "")
        assert "pgcast: 192.0.2.11/32 is withdrawn, until 'pgcast auto'\n" in err
        bird.wait_table({"192.0.2.10/32": 99_993})
    assert pgcast.run("withdraw", "main")[0] == 0
    bird.wait_table({})


COLUMNS = "SCOPE  ROLE  PREFIX  ANNOUNCED  NEIGHBOR  NEXT-HOP  MED  LOCAL-PREFERENCE"


def test_show(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """Routes that stand, that do not, and that are not ours; for people and for programs."""
    exabgp.write("announce route 198.51.100.0/24 next-hop 10.9.0.1 local-preference 5")
    pgcast.run("auto", "main", "192.0.2.10/32")
    code, out, err = pgcast.run("show")
    hop = "self" if exabgp.version == "4.2.21" else "10.9.0.1"
    assert (code, err) == (0, "")
    assert sorted(" ".join(line.split()) for line in out.splitlines()) == sorted(
        [
            " ".join(COLUMNS.split()),
            f"main primary 192.0.2.10/32 yes 10.9.0.2 {hop} 99993 -",
            "main primary 192.0.2.11/32 no - - - -",
            "- - 198.51.100.0/24 yes 10.9.0.2 10.9.0.1 - 5",
        ]
    )
    code, out, err = pgcast.run("show", "--json")
    document = json.loads(out)
    routes = {route.pop("prefix"): route for route in document.pop("routes")}
    assert document == {
        "version": 1,
        "exabgp": {"pipe": f"{PIPE}.in", "version": exabgp.version},
    }
    assert routes["192.0.2.10/32"] == {
        "scope": "main",
        "role": "primary",
        "announced": True,
        "neighbor": "10.9.0.2",
        "local": "10.9.0.1",
        "next_hop": hop,
        "med": 99_993,
        "local_preference": None,
        "as_path": [],
        "communities": [],
        "large_communities": [],
        "extended_communities": [],
        "path_information": None,
    }
    assert routes["192.0.2.11/32"]["announced"] is False
    assert routes["198.51.100.0/24"]["scope"] is None


def test_show_without_exabgp(pgcast: Pgcast) -> None:
    """No table is printed that might be taken for an empty Adj-RIB-Out."""
    make_pipe()
    pgcast.document["exabgp"]["timeout"] = 0.1
    code, out, err = pgcast.run("show")
    assert (code, out) == (69, "")
    assert f"pgcast: ExaBGP is not reading {PIPE}.in" in err


def test_check_config(pgcast: Pgcast) -> None:
    """The effective configuration, with every default, is one that is accepted."""
    code, out, err = pgcast.run("check-config")
    assert (code, err) == (0, "")
    document = yaml.safe_load(out)
    assert document["exabgp"] == {
        "pipe": str(PIPE),
        "timeout": 2.0,
        "lock_timeout": 1.0,
    }
    assert document["clusters"]["main"]["routes"][1] == {
        "prefix": "192.0.2.11/32",
        "role": "primary",
        "vip": "192.0.2.11",
        "next_hop": "self",
        "fence": {"attribute": "med", "base": 100_000},
    }
    pgcast.document = document
    assert pgcast.run("check-config") == (0, out, "")


def test_check_config_with_mistakes(pgcast: Pgcast) -> None:
    """A line each, on stderr."""
    pgcast.routes[0]["role"] = "primry"
    pgcast.document["exabgp"]["timout"] = 1
    code, out, err = pgcast.run("check-config")
    assert (code, out) == (78, "")
    assert len(err.splitlines()) == 2
    assert "pgcast.yml: exabgp.timout: unknown key; did you mean 'timeout'?" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["withdraw", "mian"], 78, "scope 'mian' is not configured"),
        (
            ["withdraw", "main", "192.0.2.12/32"],
            2,
            "configured are 192.0.2.10/32, 192.0.2.11/32",
        ),
        (["announce", "main"], 2, "Missing option '--for'"),
        (["withdraw", "main", "--for", "30"], 2, "needs a unit: 30s, 30m"),
        (["reconcile", "--withdraw-on-exit"], 2, "goes with --interval"),
        (["reconcile", "--interval", "nan"], 2, "'nan' is no number of seconds"),
        (["reconcile", "--wait", "0", "--interval", "2"], 2, "goes with one pass"),
        (["reconcile", "--wait", "5", "--dry-run"], 2, "goes with one pass"),
        (["withdraw"], 2, "Missing argument 'SCOPE'"),
        (["shwo"], 2, "No such command 'shwo'"),
    ],
)
def test_wrong_arguments(
    pgcast: Pgcast, arguments: list[str], code: int, said: str
) -> None:
    """The exit code tells usage from configuration."""
    found, out, err = pgcast.run(*arguments)
    assert (found, out) == (code, "")
    assert said in err


def test_a_plugin_ends_as_one(pgcast: Pgcast) -> None:
    """Whatever is wrong with how it is called: UNKNOWN, on stdout."""
    said = "PGCAST UNKNOWN - --nagios goes without --json\n"
    assert pgcast.run("check", "--nagios", "--json") == (3, said, "")


def test_a_bug_has_an_exit_code_of_its_own(pgcast: Pgcast) -> None:
    """A traceback is for a report; 70 tells a script that trying again is no use."""
    broken = "import pgcast_hooks.cli as c; c.show.configuration.load = lambda path: 1 / 0; c.main(['show'])"
    result = subprocess.run(
        [sys.executable, "-c", broken], capture_output=True, text=True
    )
    assert result.returncode == 70
    assert result.stderr.endswith(
        "ZeroDivisionError: division by zero\npgcast: a bug, please report it\n"
    )


def test_version(pgcast: Pgcast) -> None:
    """What a bug report must name."""
    assert pgcast.run("--version")[1] == f"pgcast, version {__version__}\n"


def test_check_config_looks_for_the_files_that_it_names(pgcast: Pgcast) -> None:
    """Where a callback would only say that Patroni cannot be asked."""
    pgcast.document["clusters"]["main"]["patroni"]["cafile"] = "/nonexistent/ca.pem"
    code, out, err = pgcast.run("check-config")
    assert (code, out) == (78, "")
    assert "clusters.main.patroni.cafile: /nonexistent/ca.pem cannot be read" in err


@pytest.mark.any_version
def test_one_look_gives_patroni_its_time(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A Patroni that takes longer than the pause between two questions is heard."""

    def slow(handler: BaseHTTPRequestHandler) -> None:
        patroni.over.wait(0.2)
        PRIMARY(handler)

    patroni.will_say([slow])
    pgcast.document["clusters"]["main"]["patroni"]["timeout"] = 10
    assert pgcast.run("auto", "main")[0] == 0
    bird.wait_table(TWO)
