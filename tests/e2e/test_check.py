"""`pgcast check` in the lab: nothing on a healthy host, and on a broken one exactly what was broken."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.files import edited
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.network import VIP

PGCAST = "/opt/pgcast/bin/pgcast"
CONFIG = "/etc/pgcast/pgcast.yml"
PATRONI_YML = "/etc/patroni/patroni.yml"
PIPE_IN = "/run/exabgp/exabgp.in"
CALLBACK = "/opt/pgcast/bin/pgcast-callback"


@pytest.fixture(scope="module")
def reconcilers(the_lab: Lab) -> Iterator[None]:
    """Started for each test, stopped after all."""
    yield
    the_lab.reconcile(False)


@pytest.fixture
def host(lab: Lab, reconcilers: None) -> Host:
    """The host that is broken: a replica's, so that no failover follows; healthy before."""
    lab.reconcile(True)
    host = lab.hosts[replica(lab)]
    lab.wait_for(lambda: wrong(host) == set(), 20, "check without a finding")
    return host


def replica(lab: Lab) -> str:
    return next(name for name in lab.members if name != lab.leader())


def check(host: Host, *options: str, user: str | None = None) -> tuple[int, str]:
    done = host.run([PGCAST, "check", *options], user=user, check=False)
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


def wrong(host: Host, user: str | None = None) -> set[str]:
    """The names of the findings that are not OK."""
    code, out = check(host, "--json", user=user)
    findings = json.loads(out)["findings"]
    bad = [one for one in findings if one["severity"] != "OK"]
    # What the kernel says of the clock is this machine's, not the lab's.
    bad = [one for one in bad if "as the kernel says" not in one["text"]]
    assert all(one["advice"] and "\n" not in one["text"] for one in bad)
    grave = any(one["severity"] != "WARNING" for one in bad)
    broken = any(one["name"] == "config.valid" for one in bad)
    assert code == (78 if broken else 69 if grave else 0)
    return {one["name"] for one in bad}


@contextlib.contextmanager
def done(host: Host, break_it: str, mend_it: str) -> Iterator[None]:
    """A shell command that breaks, and one that mends."""
    host.run(["sh", "-euc", break_it])
    try:
        yield
    finally:
        host.run(["sh", "-euc", mend_it])


def test_a_healthy_host(lab: Lab, host: Host) -> None:
    """Nothing is found on the leader, nor on a replica; as root, and as Patroni's user."""
    leader = lab.hosts[lab.leader() or ""]
    lab.wait_for(lambda: not wrong(leader), 20, "check without a finding")
    for healthy in (leader, host):
        for user in (None, "postgres"):
            code, out = check(healthy, user=user)
            assert (code, out) == (0, f"OK: {len(told(healthy, user))} OK\n")
    names = set(told(leader, None))
    assert {"pipe.usable", "exabgp.session", "route.announced", "host.clock"} <= names
    assert {"patroni.callbacks", "patroni.before_stop", "patroni.ttl"} <= names
    code, out = check(leader, "--nagios")
    assert code == 0
    assert out.startswith("PGCAST OK - ")
    assert "'neighbors_established'=1;;;0;1 'routes_announced'=2;;;0;2" in out


def told(host: Host, user: str | None) -> list[str]:
    out = check(host, "--json", "--all", user=user)[1]
    return [one["name"] for one in json.loads(out)["findings"]]


FILES = [
    # (the finding, the file, what is in it, what is there instead)
    ("config.valid", CONFIG, "clusters:", "cluster:"),
    ("patroni.scope", CONFIG, "  main:", "  other:"),
    (
        "patroni.ttl",
        CONFIG,
        "state_dir:",
        "reconcile: {unreachable_grace: 18}\nstate_dir:",
    ),
    ("patroni.reachable", CONFIG, "127.0.0.1:8008", "127.0.0.1:8009"),
    ("pipe.present", CONFIG, "/run/exabgp/exabgp\n", "/run/exabgp/exabpg\n"),
    ("patroni.callbacks", PATRONI_YML, f"    on_stop: {CALLBACK}\n", ""),
    ("patroni.callbacks", PATRONI_YML, "  callbacks:", "  callback:"),
    (
        "patroni.callback_program",
        PATRONI_YML,
        f"on_role_change: {CALLBACK}",
        "on_role_change: /bin/true",
    ),
    (
        "patroni.callback_program",
        PATRONI_YML,
        f"on_start: {CALLBACK}",
        "on_start: /usr/local/bin/pgcast-callback",
    ),
    ("patroni.before_stop", PATRONI_YML, "before_stop - main", "before_stop main"),
    ("patroni.before_stop", PATRONI_YML, "  before_stop:", "  after_stop:"),
]


@pytest.mark.parametrize(("name", "path", "old", "new"), FILES)
def test_a_file_is_wrong(host: Host, name: str, path: str, old: str, new: str) -> None:
    """What stands in a configuration, before anything has failed for it."""
    with edited(host, path, old, new):
        assert wrong(host) == {name}


COMMANDS = [
    # (the finding, what breaks it, what mends it)
    (
        "pipe.usable",
        f"chown root:root {PIPE_IN}; chmod 600 {PIPE_IN}",
        f"chown exabgp:postgres {PIPE_IN}; chmod 660 {PIPE_IN}",
    ),
    ("pipe.usable", "chmod 700 /run/exabgp", "chmod 750 /run/exabgp"),
    ("config.readable", f"chmod 600 {CONFIG}", f"chmod 644 {CONFIG}"),
    (
        "vip.carried",
        f"ip address del {VIP}/32 dev lo",
        f"ip address add {VIP}/32 dev lo",
    ),
    (
        "vip.arp",
        "ip address add 192.0.2.77/24 dev eth0; sysctl -qw net.ipv4.conf.all.arp_ignore=0",
        "ip address del 192.0.2.77/24 dev eth0; sysctl -qw net.ipv4.conf.all.arp_ignore=1",
    ),
    (
        "host.rp_filter",
        "ip link add other type veth peer name another; ip link set other up; ip address add 10.7.0.1/24 dev other;"
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=1; ip route replace default via 10.7.0.2",
        "ip link del other; sysctl -qw net.ipv4.conf.eth0.rp_filter=0;"
        "ip route replace default via 10.0.0.1",
    ),
    (
        "state.usable",
        "chown root:root /var/lib/pgcast; chmod 700 /var/lib/pgcast",
        "chown postgres:postgres /var/lib/pgcast; chmod 755 /var/lib/pgcast",
    ),
    (
        "state.usable",
        "chown root:root /var/lib/pgcast/generation; chmod 600 /var/lib/pgcast/generation",
        "chown postgres:postgres /var/lib/pgcast/generation",
    ),
]


@pytest.mark.parametrize(("name", "break_it", "mend_it"), COMMANDS)
def test_the_host_is_wrong(host: Host, name: str, break_it: str, mend_it: str) -> None:
    """What somebody did to the machine."""
    with done(host, break_it, mend_it):
        assert wrong(host) == {name}


def test_exabgp_is_stopped(lab: Lab, host: Host) -> None:
    """And nothing is said of sessions that nobody can know of."""
    lab.exabgp[host.name].stop()
    try:
        assert wrong(host) == {"pipe.reader"}
        assert wrong(host, "postgres") == {"pipe.reader"}
        code, out = check(host, "--nagios")
        assert code == 2
        assert out.startswith("PGCAST CRITICAL - 1 CRITICAL, ")
        assert f"CRITICAL pipe.reader {PIPE_IN}: nobody reads it" in out
    finally:
        lab.exabgp[host.name].start()


def test_exabgp_hangs(lab: Lab, host: Host) -> None:
    """Its pipe helper still reads the pipe."""
    lab.exabgp[host.name].signal(signal.SIGSTOP)
    try:
        assert wrong(host) == {"exabgp.answers"}
    finally:
        lab.exabgp[host.name].signal(signal.SIGCONT)


def test_the_session_is_down(lab: Lab, host: Host) -> None:
    """The router's end was disabled."""
    lab.router.run(["birdc", "disable", host.name])
    try:
        lab.wait_for(lambda: wrong(host), 15, "finding")
        assert wrong(host) == {"exabgp.session"}
    finally:
        lab.router.run(["birdc", "enable", host.name])


@contextlib.contextmanager
def session(lab: Lab, host: Host, exabgp: str, bird: str) -> Iterator[None]:
    """A session with something else at both ends: what stands for the hold time of each."""
    conf = "/etc/exabgp/exabgp.conf"
    service = lab.exabgp[host.name]
    with edited(host, conf, "hold-time 6;", exabgp), edited(
        lab.router, "/etc/bird/bird.conf", "hold time 6;", bird
    ):
        lab.router.run(["birdc", "configure"])
        service.stop()
        service.start()
        lab.wait_for(lambda: wrong(host) - {"pipe.reader", "exabgp.session"}, 30, "it")
        yield
    lab.router.run(["birdc", "configure"])
    service.stop()
    service.start()


def test_the_hold_time_is_long(lab: Lab, host: Host) -> None:
    """ExaBGP's own default, agreed to by the router."""
    with session(lab, host, "hold-time 180;", "hold time 180;"):
        assert wrong(host) == {"exabgp.hold_time"}


def test_graceful_restart(lab: Lab, host: Host) -> None:
    """Agreed on by both ends."""
    both = (
        "hold-time 6; capability { graceful-restart 60; }",
        "hold time 6; graceful restart on;",
    )
    with session(lab, host, *both):
        assert wrong(host) == {"exabgp.graceful_restart"}


def test_patroni_is_stopped(lab: Lab, host: Host) -> None:
    """And PostgreSQL with it, which is no second finding."""
    lab.patroni[host.name].stop()
    try:
        assert wrong(host) == {"patroni.reachable"}
    finally:
        lab.patroni[host.name].start()


def test_postgresql_listens_on_the_lan_only(lab: Lab, host: Host) -> None:
    """As in a configuration that was written before there was a VIP."""
    service = lab.patroni[host.name]
    with edited(host, PATRONI_YML, '"*:5432"', f'"127.0.0.1,{lan(host)}:5432"'):
        service.stop()
        service.start()
        try:
            lab.wait_for(
                lambda: wrong(host) == {"postgresql.listens"}, 30, "lone finding"
            )
        finally:
            service.stop()
    service.start()


def lan(host: Host) -> str:
    return host.run(["hostname", "-I"]).stdout.split()[0]


def test_the_reconciler_is_stopped(lab: Lab, host: Host) -> None:
    """Asked to end; and, with a record that says otherwise, killed."""
    lab.reconciler[host.name].kill()
    try:
        assert wrong(host) == {"reconciler.running"}
    finally:
        lab.reconciler[host.name].start()


def test_the_reconciler_hangs(lab: Lab, host: Host) -> None:
    """It holds its lock, and makes no pass."""
    lab.reconciler[host.name].signal(signal.SIGSTOP)
    try:
        old = ["--nagios", "--warning", "0:1", "--critical", "0:3"]
        lab.wait_for(lambda: check(host, *old)[0] == 2, 15, "critical age")
        out = check(host, *old)[1]
        assert "CRITICAL reconciler.recent pgcast-reconcile: its last pass was" in out
        assert ";1;3;0" in out
    finally:
        lab.reconciler[host.name].signal(signal.SIGCONT)


def test_the_clock_is_wrong(lab: Lab, host: Host) -> None:
    """An hour behind, in the eyes of one host."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    fake = ["env", f"LD_PRELOAD={library}", "FAKETIME=-1h"]
    fake += ["FAKETIME_DONT_FAKE_MONOTONIC=1", PGCAST, "check"]
    lines: list[str] = []

    # The library makes a sleep, or a program that is waited for, fail now and then.
    def looked() -> bool:
        lines[:] = host.run(fake, check=False).stdout.splitlines()
        return len(lines) == 2

    lab.wait_for(looked, 60, "one finding alone")
    assert lines[0].startswith("WARNING host.clock clock: is 3600 s behind pg")


def test_the_leader_does_not_announce(lab: Lab, host: Host) -> None:
    """While its reconciler hangs, somebody withdrew the route by hand."""
    leader = lab.leader() or ""
    lab.reconciler[leader].signal(signal.SIGSTOP)
    try:
        lab.exabgp[leader].command(f"withdraw route {VIP}/32")
        assert wrong(lab.hosts[leader]) == {"route.announced"}
    finally:
        lab.reconciler[leader].signal(signal.SIGCONT)
    lab.wait_healthy(20)


def test_a_replica_announces(lab: Lab, host: Host) -> None:
    """What Patroni says that it has not earned."""
    lab.reconciler[host.name].signal(signal.SIGSTOP)
    try:
        lab.exabgp[host.name].command(f"announce route {VIP}/32 next-hop self")
        assert wrong(host) == {"route.announced"}
    finally:
        lab.reconciler[host.name].signal(signal.SIGCONT)
    lab.wait_for(lambda: len(lab.bird_paths()) == 1, 20, "lone path")
