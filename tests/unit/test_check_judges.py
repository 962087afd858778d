"""What a check judges: each judge as a table of what is so and what is found."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgcast_hooks.check import (
    access,
    callbacks,
    clock,
    host,
    member,
    settings,
    speaker,
    standing,
)
from pgcast_hooks.check.finding import Finding
from pgcast_hooks.check.network import Carried, Interface, Network
from pgcast_hooks.check.process import (
    Process,
    configuration_of,
    interval_of,
    patroni_arguments,
)
from pgcast_hooks.check.range import Range
from pgcast_hooks.check.user import Account
from pgcast_hooks.model import (
    Eligibility,
    Fence,
    FenceAttribute,
    LastPass,
    Neighbor,
    Observation,
    Order,
    Override,
    Question,
    RestAnswer,
    RibEntry,
    Role,
    Route,
)
from pgcast_hooks.settings import (
    Cluster,
    OnUnreachable,
    PatroniEndpoint,
    ReconcileSettings,
)

VIP = ipaddress.ip_address("192.0.2.10")
PREFIX = ipaddress.ip_network("192.0.2.10/32")
ROUTE = Route(PREFIX, Role.PRIMARY, VIP, None, Fence(FenceAttribute.MED, 100_000))
ROUTE6 = ROUTE._replace(prefix=ipaddress.ip_network("2001:db8::10/128"))


def bad(findings: Any) -> list[tuple[str, str]]:
    """(severity, name) of those that are not OK; each must say what to do."""
    found = [findings] if isinstance(findings, Finding) else list(findings)
    wrong = [one for one in found if one.severity.value != "OK"]
    assert all(one.advice and one.text and one.object for one in wrong)
    return [(one.severity.value, one.name) for one in wrong]


# ExaBGP


@pytest.mark.parametrize(
    ("version", "expected", "known"),
    [
        ("5.0.15", [], ""),
        ("5.0.12", [], ""),
        ("5.0.8", [], "memory"),
        ("4.2.25", [], "flush adj-rib out"),
        ("4.2.21", [], "next_hop"),
        ("4.2.11", [("WARNING", "exabgp.version")], ""),
        ("3.4.19", [("WARNING", "exabgp.version")], ""),
        ("6.0.0", [("CRITICAL", "exabgp.version")], ""),
        ("5.1.0", [("CRITICAL", "exabgp.version")], ""),
        ("main-abc", [("CRITICAL", "exabgp.version")], ""),
        (None, [("UNKNOWN", "exabgp.version")], ""),
    ],
)
def test_version(
    version: str | None, expected: list[tuple[str, str]], known: str
) -> None:
    """What pgcast is tested with is OK, and tells what is known of it."""
    found = speaker.judge_version(version)
    assert bad(found) == expected
    assert known in found[0].text


UP = Neighbor(
    "10.0.0.1", "10.0.0.11", "established", 5, 65000, 6, False, ("ipv4 unicast",)
)
DOWN = Neighbor("10.0.0.2", "10.0.0.11", "active", hold_time=180)


@pytest.mark.parametrize(
    ("neighbors", "ttl", "expected"),
    [
        ([UP], 20, []),
        ([], 20, [("CRITICAL", "exabgp.session")]),
        ([DOWN], 20, [("CRITICAL", "exabgp.session")]),
        ([UP, DOWN], 20, [("WARNING", "exabgp.session")]),
        ([UP._replace(hold_time=20)], 20, []),
        ([UP._replace(hold_time=21)], 20, [("WARNING", "exabgp.hold_time")]),
        ([UP._replace(hold_time=30)], None, []),
        ([UP._replace(hold_time=180)], None, [("WARNING", "exabgp.hold_time")]),
        ([UP._replace(hold_time=0)], 20, [("CRITICAL", "exabgp.hold_time")]),
        ([UP._replace(hold_time=None)], 20, [("UNKNOWN", "exabgp.hold_time")]),
        (
            [UP._replace(graceful_restart=True)],
            20,
            [("CRITICAL", "exabgp.graceful_restart")],
        ),
    ],
)
def test_sessions(
    neighbors: list[Neighbor], ttl: float | None, expected: list[tuple[str, str]]
) -> None:
    """A session that is down tells nothing else."""
    assert bad(speaker.judge_sessions(neighbors, ttl)) == expected


@pytest.mark.parametrize(
    ("neighbors", "routes", "expected"),
    [
        ([UP], [ROUTE], []),
        ([DOWN], [ROUTE6], []),
        (
            [UP._replace(local="2001:db8:1::11")],
            [ROUTE],
            [("CRITICAL", "exabgp.next_hop")],
        ),
        ([UP, UP._replace(local="2001:db8:1::11")], [ROUTE], []),
        ([UP], [ROUTE6], [("CRITICAL", "exabgp.family")]),
        (
            [UP._replace(families=("ipv6 unicast",))],
            [ROUTE6],
            [("CRITICAL", "exabgp.next_hop")],
        ),
        ([UP._replace(families=("ipv6 unicast",), local="fd00::1")], [ROUTE6], []),
        (
            [UP._replace(families=("ipv6 unicast",))],
            [ROUTE6._replace(next_hop=ipaddress.ip_address("fd00::1"))],
            [],
        ),
    ],
)
def test_families(
    neighbors: list[Neighbor], routes: list[Route], expected: list[tuple[str, str]]
) -> None:
    """A route that no session can carry."""
    assert bad(speaker.judge_families(neighbors, routes)) == expected


# The pipe and the state directory

NO = os.strerror(errno.EACCES)


def tried(**changes: Any) -> dict[str, Any]:
    """What one user found; everything is well."""
    return {
        "read": {"/etc/pgcast/pgcast.yml": None},
        "open": [],
        "ends": {"/run/e.in": None, "/run/e.out": None},
        "enters": True,
        "directory": None,
        "files": {},
        "programs": {},
        **changes,
    }


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ({}, []),
        (
            {"/run/e.in": access.MISSING, "/run/e.out": NO},
            [("CRITICAL", "pipe.present")],
        ),
        ({"/run/e.in": access.NOT_A_FIFO}, [("CRITICAL", "pipe.fifo")]),
        ({"/run/e.in": NO}, [("CRITICAL", "pipe.usable")]),
        (
            {"/run/e.in": access.NO_READER, "/run/e.out": NO},
            [("CRITICAL", "pipe.usable")],
        ),
        ({"/run/e.in": access.NO_READER}, [("CRITICAL", "pipe.reader")]),
    ],
)
def test_pipe(one: dict[str, str], expected: list[tuple[str, str]]) -> None:
    """The first cause alone, whichever user finds it."""
    ends = {**tried()["ends"], **one}
    assert bad(access.judge_pipe({"postgres": tried(ends=ends)})) == expected
    both = {"postgres": tried(), "pgcast": tried(ends=ends)}
    assert bad(access.judge_pipe(both)) == expected


def test_pipe_names_the_way_in() -> None:
    """Where the directory is what keeps the user out."""
    ends = dict.fromkeys(tried()["ends"], NO)
    (found,) = access.judge_pipe({"postgres": tried(ends=ends, enters=False)})
    assert found.advice == "let postgres's group into /run: chgrp, chmod 750"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"directory": access.MISSING}, [("CRITICAL", "state.usable")]),
        ({"directory": NO}, [("CRITICAL", "state.usable")]),
        ({"files": {"/s/generation": NO, "/s/x": NO}}, [("CRITICAL", "state.usable")]),
    ],
)
def test_state(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """The directory and what is in it."""
    users = {"postgres": tried(**changes)}
    assert bad(access.judge_state("/s", users, "postgres")) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (None, []),
        (access.Room(1 << 30, 1000), []),
        (access.Room(1 << 30, None), []),
        (access.Room(0, 1000), [("WARNING", "state.space")]),
        (access.Room(1 << 30, 0), [("WARNING", "state.space")]),
    ],
)
def test_space(left: access.Room | None, expected: list[tuple[str, str]]) -> None:
    """A new file needs a block and an inode."""
    assert bad(access.judge_space("/s", left)) == expected


def test_the_room_there_is(tmp_path: Path) -> None:
    """Asked of a real file system, and of none."""
    found = access.room(str(tmp_path))
    assert found
    assert found.bytes > 0
    assert access.room("/nonexistent") is None


def test_trying(tmp_path: Path) -> None:
    """Really tried, with nothing left behind."""
    state, base = tmp_path / "state", tmp_path / "exabgp"
    state.mkdir()
    (state / "generation").write_text("x")
    (state / "linked").symlink_to("generation")
    for aside in ("override-host.damaged-1795", "override-host.new-7", "history.1"):
        (state / aside).symlink_to("nowhere")
    named_so = [state / f"known-primary-{name}" for name in ("db.1", "db.new-1")]
    for path in named_so:
        path.symlink_to("generation")
    os.mkfifo(f"{base}.in")
    Path(f"{base}.out").write_text("")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    found = access.try_all(
        ["/nonexistent"],
        str(base),
        str(state),
        ["/bin/true", "/etc/passwd", "/etc"],
        ["/etc/passwd", "/etc/shadow", str(state / "generation"), "/nonexistent"],
    )
    assert stat.S_IMODE((state / "generation").stat().st_mode) & 0o004
    assert found == {
        "open": ["/etc/passwd"],  # the directory of the other is closed
        "read": {"/nonexistent": access.MISSING},
        "ends": {f"{base}.in": access.NO_READER, f"{base}.out": access.NOT_A_FIFO},
        "enters": True,
        "directory": None,
        "files": {
            str(path): access.NOT_PLAIN for path in (state / "linked", *named_so)
        },
        "programs": {"/bin/true": None, "/etc/passwd": NO, "/etc": "not a program"},
    }
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert access.try_all([], "x", str(base) + ".out", [])["directory"]


def test_a_secret_that_all_may_read() -> None:
    """Told once, whoever found it."""
    open_one = {"open": ["/etc/pgcast/pgcast.yml"]}
    found = access.judge_secret(
        {"root": tried(**open_one), "postgres": tried(**open_one)}
    )
    assert bad(found) == [("WARNING", "config.secret")]
    assert bad(access.judge_secret({"postgres": tried()})) == []


# Patroni

ENDPOINT = PatroniEndpoint("http://127.0.0.1:8008", 1.0)
CLUSTER = Cluster("main", ENDPOINT, (ROUTE,))
ABOUT = {"version": "4.1.5", "scope": "main", "name": "pg1"}


def look(answer: RestAnswer | None, reason: str = "") -> member.Look:
    asked = member.Asked(answer, reason, 0.0)
    nothing = member.Asked(None, "", 0.0)
    return member.Look(CLUSTER, {Question(Role.PRIMARY): asked}, nothing, nothing, {})


@pytest.mark.parametrize(
    ("url", "verify", "expected"),
    [
        ("https://127.0.0.1:8008", True, []),
        ("https://127.0.0.1:8008", False, [("WARNING", "patroni.tls")]),
        ("http://127.0.0.1:8008", False, []),
    ],
)
def test_a_certificate_that_nobody_looks_at(
    url: str, verify: bool, expected: list[tuple[str, str]]
) -> None:
    """Told where there is one."""
    lax = CLUSTER._replace(patroni=ENDPOINT._replace(url=url, verify=verify))
    assert bad(member.judge_verified(lax)) == expected


def says(**changes: Any) -> RestAnswer:
    return RestAnswer(200, {"state": "running", "patroni": ABOUT, **changes})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says(), []),
        (None, [("CRITICAL", "patroni.reachable")]),
        (RestAnswer(404, None), [("CRITICAL", "patroni.reachable")]),
        (RestAnswer(200, {}), [("CRITICAL", "patroni.reachable")]),
        (says(patroni={**ABOUT, "scope": "x"}), [("CRITICAL", "patroni.scope")]),
        (says(patroni=None), [("CRITICAL", "patroni.scope")]),
        (says(state="starting"), [("WARNING", "patroni.state")]),
        (says(state="crashed"), [("CRITICAL", "patroni.state")]),
        (says(patroni={**ABOUT, "version": "3.0.2"}), [("WARNING", "patroni.version")]),
        (says(patroni={**ABOUT, "version": "3.0.3"}), []),
        (says(patroni={"scope": "main"}), [("UNKNOWN", "patroni.version")]),
    ],
)
def test_patroni(answer: RestAnswer | None, expected: list[tuple[str, str]]) -> None:
    """What does not answer, or for another cluster, says nothing else."""
    assert bad(member.judge(CLUSTER, look(answer, "is refused"))) == expected


def test_patroni_s_tls() -> None:
    """A certificate that is not trusted is no Patroni that is down."""
    secure = CLUSTER._replace(patroni=ENDPOINT._replace(url="https://127.0.0.1:8008"))
    reason = "cannot be asked: [SSL: CERTIFICATE_VERIFY_FAILED]"
    assert bad(member.judge(secure, look(None, reason))) == [
        ("CRITICAL", "patroni.tls")
    ]


@pytest.mark.parametrize(
    ("ttl", "grace", "interval", "policy", "expected"),
    [
        (20.0, 5.0, 2.0, OnUnreachable.WITHDRAW, []),
        (20.0, 18.0, 1.0, OnUnreachable.WITHDRAW, [("CRITICAL", "patroni.ttl")]),
        (20.0, 16.9, 2.0, OnUnreachable.WITHDRAW, []),
        (20.0, 17.0, 2.0, OnUnreachable.WITHDRAW, [("CRITICAL", "patroni.ttl")]),
        (20.0, 18.5, None, OnUnreachable.WITHDRAW, []),
        (20.0, 60.0, 2.0, OnUnreachable.KEEP, []),
        (None, 5.0, 2.0, OnUnreachable.WITHDRAW, [("UNKNOWN", "patroni.ttl")]),
    ],
)
def test_ttl(
    ttl: float | None,
    grace: float,
    interval: float | None,
    policy: OnUnreachable,
    expected: list[tuple[str, str]],
) -> None:
    """The grace, the interval and one question that is not answered, against ttl."""
    rules = ReconcileSettings(grace, policy)
    assert bad(member.judge_ttl("main", ttl, rules, interval, 1.0)) == expected


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ({}, []),
        ({"pg2": 0.7, "pg3": -1.2}, []),
        ({"pg2": 60.0, "pg3": 0.1}, []),  # it is pg2 whose clock is wrong
        ({"pg2": 60.0, "pg3": 61.0}, [("WARNING", "host.clock")]),
        ({"pg2": -6.0}, [("WARNING", "host.clock")]),
    ],
)
def test_clocks(offsets: dict[str, float], expected: list[tuple[str, str]]) -> None:
    """The one that differs from all others is wrong."""
    assert bad(clock.judge_clocks(offsets)) == expected


@pytest.mark.parametrize(
    ("said", "severity"), [(True, "OK"), (False, "WARNING"), (None, "UNKNOWN")]
)
def test_a_clock_without_another(said: bool | None, severity: str) -> None:
    """It goes by the kernel's word, so that the question never stays without an answer."""
    found = clock.judge_kept(said)
    assert (found.name, found.severity.value) == ("host.clock", severity)
    assert bool(found.advice) == (severity != "OK")


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (400, []),
        (15, []),
        (13, [("WARNING", "patroni.tls")]),
        (-1, [("CRITICAL", "patroni.tls")]),
    ],
)
def test_certificates(days: float, expected: list[tuple[str, str]]) -> None:
    """Two weeks are enough to renew one."""
    ends = {"the certificate": 1e9 + days * 86400}
    assert bad(clock.judge_certificates("main", ends, 1e9)) == expected


@pytest.mark.parametrize("days", [2, 40_000])  # UTCTime, and GeneralizedTime after 2049
def test_the_end_of_a_certificate(tmp_path: Path, days: int) -> None:
    """As openssl says it."""
    assert shutil.which("openssl")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    path = tmp_path / "c.pem"
    subprocess.run(
        [*make.split(), "-days", str(days), "-subj", "/CN=c", "-out", str(path)]
        + ["-keyout", str(tmp_path / "key")],
        check=True,
        capture_output=True,
    )
    nowhere = PatroniEndpoint("https://127.0.0.1:9", 0.1, certfile=str(path))
    found = clock.ends_of_certificates(nowhere, 0.1)
    assert abs(found[str(path)] - clock.wall() - days * 86400) < 60
    (tmp_path / "c.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    )
    assert clock.ends_of_certificates(nowhere, 0.1) == {}


def test_an_http_date() -> None:
    """RFC 9110, section 5.6.7."""
    assert clock.of_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777.5
    assert clock.of_date("soon") is clock.of_date(None) is None


# The processes


@pytest.mark.parametrize(
    ("line", "arguments", "configuration"),
    [
        ("/usr/bin/python3 /usr/bin/patroni /etc/p.yml", ("/etc/p.yml",), "/etc/p.yml"),
        ("python3.11 -u /opt/bin/patroni p.yml", ("p.yml",), "p.yml"),
        ("/usr/bin/python3 -m patroni /etc/p.yml", ("/etc/p.yml",), "/etc/p.yml"),
        ("/usr/bin/patroni", (), None),
        ("patroni --validate-config /etc/p.yml", None, None),
        ("/usr/bin/python3 /usr/bin/patronictl list", None, None),
        ("vi /etc/patroni.yml", None, None),
        ("tail -f patroni", None, None),
        ("", None, None),
    ],
)
def test_patroni_s_command_line(
    line: str, arguments: tuple[str, ...] | None, configuration: str | None
) -> None:
    """Only Patroni's own."""
    assert patroni_arguments(line.split()) == arguments
    assert configuration_of(line.split()) == configuration


@pytest.mark.parametrize(
    ("line", "interval"),
    [
        ("pgcast reconcile --interval 2", 2.0),
        ("pgcast reconcile --interval=0.5", 0.5),
        ("pgcast reconcile", None),
        ("pgcast reconcile --interval .", None),
    ],
)
def test_the_reconciler_s_interval(line: str, interval: float | None) -> None:
    assert interval_of(line.split()) == interval


# The callbacks

RUN = "/opt/pgcast/bin/pgcast-callback"
OURS = callbacks.Ours(RUN, "/etc/pgcast/pgcast.yml")
ALL = dict.fromkeys(callbacks.ACTIONS, RUN)
STOP = f"{RUN} before_stop - main"


def without(*names: str) -> dict[str, str]:
    return {name: line for name, line in ALL.items() if name not in names}


@pytest.mark.parametrize(
    ("lines", "before_stop", "expected"),
    [
        (ALL, STOP, []),
        ({}, STOP, [("CRITICAL", "patroni.callbacks")]),
        (without("on_stop"), STOP, [("CRITICAL", "patroni.callbacks")]),
        (without("on_reload"), STOP, [("WARNING", "patroni.callbacks")]),
        (without("on_reload", "on_start"), STOP, [("CRITICAL", "patroni.callbacks")]),
        (ALL, None, [("WARNING", "patroni.before_stop")]),
        (ALL, RUN, [("CRITICAL", "patroni.before_stop")]),
        (ALL, f"{RUN} before_stop - other", [("CRITICAL", "patroni.before_stop")]),
        (ALL, f"{RUN} --config /etc/pgcast/pgcast.yml before_stop - main", []),
        (ALL, "/etc/wrapper", []),
        (
            {**ALL, "on_start": "/bin/true"},
            STOP,
            [("CRITICAL", "patroni.callback_program")],
        ),
        ({**ALL, "on_start": "/etc/wrapper"}, STOP, []),
        ({**ALL, "on_start": f"env X=1 {RUN}"}, STOP, []),
        (
            {**ALL, "on_start": "/broken"},
            STOP,
            [("CRITICAL", "patroni.callback_program")],
        ),
        (
            dict.fromkeys(ALL, "/bin/true"),
            STOP,
            [("CRITICAL", "patroni.callback_program")],
        ),
        (
            {**ALL, "on_stop": "/usr/bin/pgcast-callback"},
            STOP,
            [("CRITICAL", "patroni.callback_program")],
        ),
        (
            {**ALL, "on_stop": f"{RUN} --config=/etc/other.yml"},
            STOP,
            [("WARNING", "patroni.callback_config")],
        ),
        *(
            (
                {**ALL, "on_stop": line},
                STOP,
                [("CRITICAL", "patroni.callback_program")],
            )
            for line in (
                f"{RUN} on_start",
                f"{RUN} --conf /etc/pgcast/pgcast.yml",
                f"{RUN} --config",
                f"{RUN} --config /etc/pgcast/pgcast.yml x",
                f"/bin/echo {RUN}",
                f"env /bin/echo {RUN}",
                f"false && {RUN}",
                f"PGCAST_CONFIG=/etc/pgcast/pgcast.yml {RUN}",
                f"nice {RUN} on_stop",
                "env",
            )
        ),
        *(
            (
                {**ALL, "on_stop": line},
                STOP,
                [("WARNING", "patroni.callback_config")],
            )
            for line in (
                f"env PGCAST_CONFIG=/other {RUN}",
                f"env -i X=1 PGCAST_CONFIG=/other nice -n 5 {RUN}",
                f"sudo -u postgres PGCAST_CONFIG=/other {RUN}",
            )
        ),
        *(
            ({**ALL, "on_stop": line}, STOP, [])
            for line in (
                f"{RUN} --config /etc/pgcast/pgcast.yml",
                f"env PGCAST_CONFIG=/other {RUN} --config=/etc/pgcast/pgcast.yml",
                f"/usr/bin/env PGCAST_CONFIG=/etc/pgcast/pgcast.yml {RUN}",
                f"/usr/bin/python3.11 -u {RUN}",
                f"timeout -k 2 20s {RUN}",
                f"/etc/wrapper {RUN} x",
            )
        ),
        (
            ALL,
            f"{RUN} --conf /etc/pgcast/pgcast.yml before_stop - main",
            [("CRITICAL", "patroni.callback_program")],
        ),
    ],
)
def test_callbacks(
    lines: dict[str, str], before_stop: str | None, expected: list[tuple[str, str]]
) -> None:
    """Every action, by a program that can be run and is this one; one cause, one finding."""
    commands = settings.Commands("/etc/patroni.yml", lines, before_stop)
    trouble = {"/broken": NO, RUN: None}
    found = callbacks.judge("main", commands, True, trouble, ["/etc/wrapper"], OURS)
    assert bad(found) == expected


def test_a_patroni_without_before_stop() -> None:
    """Its age is a finding of its own."""
    commands = settings.Commands("p", ALL, None)
    assert bad(callbacks.judge("main", commands, False, {}, [], OURS)) == []


def test_the_file_s_word_counts(tmp_path: Path) -> None:
    """As Patroni merges them; and a directory's files, one after the other."""
    (tmp_path / "a.yml").write_text("scope: x\npostgresql: {callbacks: {on_start: /a}}")
    (tmp_path / "b.yml").write_text("scope: main\npostgresql: {before_stop: /b}")
    (tmp_path / "c.txt").write_text("scope: none")
    source = settings.Source(str(tmp_path), settings.read(str(tmp_path)), None)
    assert source.scope == "main"
    dynamic = {"postgresql": {"callbacks": {"on_stop": "/d"}, "before_stop": "/d"}}
    found = settings.effective(source, dynamic)
    assert (found.callbacks, found.before_stop) == ({"on_start": "/a"}, "/b")
    empty = settings.Source("p", {"scope": "main"}, None)
    assert settings.effective(empty, dynamic).callbacks == {"on_stop": "/d"}
    (tmp_path / "a.yml").write_text("[")
    assert "is not YAML" in str(settings.read(str(tmp_path)))
    assert settings.read("/nonexistent") == "cannot be read: No such file or directory"


def process(*argv: str, environment: dict[str, str] | None) -> Process:
    account = Account("postgres", 101, 104, ())
    return Process(7, account, argv, "/", environment)


def test_where_patroni_has_it_from(tmp_path: Path) -> None:
    """Its command line, its environment, or whoever runs the check."""
    path = tmp_path / "p.yml"
    path.write_text("scope: main")
    running = process("patroni", str(path), environment={"PATRONI_SCOPE": "east"})
    (source,) = settings.sources([running], None)
    assert (source.place, source.local, source.scope) == (
        str(path),
        {"scope": "main"},
        "east",
    )
    for environment, why in (({}, "has no file"), (None, "cannot be read")):
        hidden = process("patroni", environment=environment)
        (source,) = settings.sources([hidden], None)
        assert why in str(source.local)
        assert bad(callbacks.unreadable(source)) == [("UNKNOWN", "patroni.callbacks")]
        (source,) = settings.sources([hidden], str(path))
        assert (source.scope, source.process) == ("main", hidden)


# The host


@pytest.mark.parametrize(
    ("here", "answer", "expected"),
    [
        (True, "PostgreSQL", []),
        (False, None, [("CRITICAL", "vip.carried")]),
        (True, "Connection refused", [("CRITICAL", "postgresql.listens")]),
        (True, "is not PostgreSQL", [("CRITICAL", "postgresql.listens")]),
    ],
)
def test_vip(here: bool, answer: str | None, expected: list[tuple[str, str]]) -> None:
    """Without the address nobody can listen on it."""
    found = Carried(VIP, here, 5432, answer)
    assert bad([host.judge_carried(found), *host.judge_listens(found)]) == expected


def eth0(*addresses: str, **settings: int) -> Interface:
    found = tuple(ipaddress.IPv4Interface(address) for address in addresses)
    return Interface("eth0", False, found, **settings)


LO = Interface("lo", True, (ipaddress.IPv4Interface("192.0.2.10/32"),))


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ([LO, eth0("10.0.0.11/24")], []),
        ([LO, eth0("192.0.2.5/24")], [("CRITICAL", "vip.arp")]),
        ([LO, eth0("192.0.2.5/24", arp_ignore=1)], [("CRITICAL", "vip.arp")]),
        ([LO, eth0("192.0.2.5/24", arp_ignore=1, arp_announce=2)], []),
        ([LO, eth0("192.0.2.5/24", arp_ignore=2, arp_announce=2)], []),
        (
            [eth0("192.0.2.10/24", arp_ignore=1, arp_announce=2)],
            [("CRITICAL", "vip.arp")],
        ),
        (
            [eth0("192.0.2.5/24", "192.0.2.10/32", arp_ignore=1, arp_announce=2)],
            [("CRITICAL", "vip.arp")],
        ),
        ([eth0("192.0.2.10/32")], []),  # a dummy interface
    ],
)
def test_arp(interfaces: list[Interface], expected: list[tuple[str, str]]) -> None:
    """Only where the VIP lies within a connected network does anybody ask for it by ARP."""
    network = Network(tuple(interfaces), frozenset({"eth0"}), {})
    carried = Carried(VIP, True, 5432, "PostgreSQL")
    assert bad(host.judge_network([carried], network)) == expected


@pytest.mark.parametrize(
    ("strict", "default", "toward", "expected"),
    [
        (1, {"eth0"}, "eth0", []),
        (1, {"eth1"}, "eth0", [("WARNING", "host.rp_filter")]),
        (2, {"eth1"}, "eth0", []),
        (0, {"eth1"}, "eth0", []),
        (1, {"eth0", "eth1"}, "eth0", []),
        (1, set(), "eth0", []),
    ],
)
def test_rp_filter(
    strict: int, default: set[str], toward: str, expected: list[tuple[str, str]]
) -> None:
    """Only strict mode, and only where the way in is not the way out."""
    interface = eth0("10.0.0.11/24", rp_filter=strict)
    network = Network((interface,), frozenset(default), {"10.0.0.1": toward})
    assert bad(host.judge_network([], network)) == expected


def test_a_host_without_ip() -> None:
    """Nothing is known of its network."""
    assert bad(host.judge_network([], None)) == [("UNKNOWN", "host.network")]


# What stands

ENTRY = RibEntry("10.0.0.1", "10.0.0.11", PREFIX, "10.0.0.11", 99_993)
EARNS = Observation(Eligibility.ELIGIBLE, "primary on timeline 7", 7)
LAST_RESORT = ENTRY._replace(med=100_000)
UNHEARD = Observation(Eligibility.UNKNOWN, "?")
NOT = Observation(Eligibility.NOT_ELIGIBLE, "replica")


@pytest.mark.parametrize(
    ("seen", "have", "expected"),
    [
        (EARNS, [ENTRY], []),
        (EARNS, [], [("CRITICAL", "route.announced")]),
        (EARNS, [ENTRY._replace(med=5)], [("CRITICAL", "route.announced")]),
        (NOT, [], []),
        (NOT, [ENTRY], [("CRITICAL", "route.announced")]),
        (UNHEARD, [ENTRY], []),
        (EARNS._replace(timeline=100_001), [], [("CRITICAL", "route.fence")]),
    ],
)
def test_route(
    seen: Observation, have: list[RibEntry], expected: list[tuple[str, str]]
) -> None:
    """What Patroni says, and what Adj-RIB-Out holds."""
    assert bad(standing.judge_route(ROUTE, seen, None, have)) == expected


@pytest.mark.parametrize(
    ("order", "have", "expected", "differs"),
    [
        (None, [], [], False),
        (Order.WITHDRAW, [], [("WARNING", "override.standing")], False),
        (Order.WITHDRAW, [ENTRY], [("WARNING", "override.standing")], True),
        (Order.ANNOUNCE, [ENTRY], [("WARNING", "override.standing")], True),
        (Order.ANNOUNCE, [LAST_RESORT], [("WARNING", "override.standing")], False),
        (Order.ANNOUNCE, [], [("WARNING", "override.standing")], True),
        (Order.HOLD, [ENTRY], [("CRITICAL", "override.damaged")], False),
    ],
)
def test_override(
    order: Order | None,
    have: list[RibEntry],
    expected: list[tuple[str, str]],
    differs: bool,
) -> None:
    """It stands, and it is followed."""
    override = order and Override(order, "a repair", "jo", left=61.4)
    found = standing.judge_override("main", ROUTE, override)
    assert bad(found) == expected
    if order in (Order.WITHDRAW, Order.ANNOUNCE):
        assert "by jo: a repair, for another 61 s" in found[0].text
    wrong = bad(standing.judge_route(ROUTE, UNHEARD, override, have))
    assert wrong == ([("CRITICAL", "route.announced")] if differs else [])


def test_a_damaged_maintenance_has_its_own_end() -> None:
    """`pgcast auto` lets it stand."""
    override = Override(Order.HOLD, "empty", whole_host=True)
    (found,) = standing.judge_override("main", ROUTE, override)
    assert found.advice == "pgcast maintenance off"
    (found,) = standing.judge_override(
        "main", ROUTE, override._replace(whole_host=False)
    )
    assert found.advice == "pgcast auto main 192.0.2.10/32"


def passed(ago: float, interval: float | None = 2.0) -> LastPass:
    return LastPass(ago, 9.0, 0, (), interval)


@pytest.mark.parametrize(
    ("pid", "last", "expected"),
    [
        (7, passed(1), []),
        (None, None, [("CRITICAL", "reconciler.running")]),
        (None, passed(1), [("CRITICAL", "reconciler.running")]),
        (None, passed(70, None), []),
        (None, passed(130, None), [("WARNING", "reconciler.recent")]),
        (None, passed(700, None), [("CRITICAL", "reconciler.recent")]),
        (7, passed(17), [("WARNING", "reconciler.recent")]),
        (7, passed(51), [("CRITICAL", "reconciler.recent")]),
        (7, passed(math.inf), [("CRITICAL", "reconciler.recent")]),
        (7, None, [("WARNING", "reconciler.recent")]),
    ],
)
def test_reconciler(
    pid: int | None, last: LastPass | None, expected: list[tuple[str, str]]
) -> None:
    """A service holds its lock; passes of a timer are recent."""
    allowed = standing.thresholds(last, (None, None))
    running = standing.Running(pid, last)
    assert bad(standing.judge_reconciler(running, allowed)) == expected


def test_thresholds_that_are_given() -> None:
    """Come before those of the interval."""
    mine = Range(0, 1)
    assert standing.thresholds(passed(1), (mine, None)) == (mine, Range(0, 50))
