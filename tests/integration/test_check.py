"""`pgcast check` against real ExaBGP, a real BIRD and real HTTP: what it says, and that it changes nothing."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgcast_hooks import timekeeping
from tests.integration.bird import Bird
from tests.integration.exabgp import DIRECTORY, PIPE, Exabgp, make_pipe
from tests.integration.patroni import REPLICA, FakePatroni, says
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

HOME = Path("/run/checked")
VIP = "192.0.2.10"
ACTIONS = ("on_start", "on_stop", "on_restart", "on_reload", "on_role_change")


class PostgreSQL(threading.Thread):
    """What a client that asks for TLS gets: one byte."""

    def __init__(self, byte: bytes = b"N") -> None:
        super().__init__(daemon=True)
        self._byte = byte
        self._socket = socket.create_server((VIP, 0))
        self.port = self._socket.getsockname()[1]

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with client:
                    client.recv(8)
                    client.sendall(self._byte)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    """A server on the VIP."""
    server = PostgreSQL()
    server.start()
    yield server
    server.close()


@pytest.fixture
def pgcast(patroni: FakePatroni, postgresql: PostgreSQL) -> Iterator[Pgcast]:
    """A host that is set up well for Patroni's user, but for a Patroni that no process is."""
    HOME.mkdir()
    command = Pgcast(HOME, patroni.url)
    shutil.chown(command.state, "postgres", "postgres")
    callback = HOME / "pgcast-callback"
    callback.write_text("#!/bin/sh\n")
    callback.chmod(0o755)
    lines = {
        "callbacks": dict.fromkeys(ACTIONS, str(callback)),
        "before_stop": f"{callback} before_stop - main",
    }
    document = {"scope": "main", "postgresql": lines}
    (HOME / "patroni.yml").write_text(yaml.safe_dump(document))
    patroni.will_say([says(200, {"ttl": 20})], "/config")
    clock = {"name": "pg2", "api_url": f"{patroni.url}/patroni"}
    members = [{"name": "pg1", "port": postgresql.port}, clock]
    patroni.will_say([says(200, {"members": members})], "/cluster")
    yield command
    shutil.rmtree(HOME)


@pytest.fixture
def reconciler(pgcast: Pgcast, exabgp: Exabgp, bird: Bird) -> Iterator[None]:
    """A reconciler that has announced the route."""
    usable()
    process = pgcast.start("cli", "reconcile", "--interval", "0.3")
    bird.wait_table({f"{VIP}/32": 99_993})
    until((pgcast.state / "last-pass").exists, "the end of its first pass")
    yield
    process.terminate()
    process.communicate(timeout=20)


def usable() -> None:
    """The pipe as the tmpfiles.d example makes it."""
    for end in DIRECTORY.iterdir():
        shutil.chown(end, "root", "postgres")
        end.chmod(0o660)


def check(pgcast: Pgcast, *options: str) -> tuple[int, list[str]]:
    options = ("--patroni-config", str(HOME / "patroni.yml"), *options)
    code, out, err = pgcast.run("check", *options)
    assert err == ""
    return code, out.splitlines()


def wrong(pgcast: Pgcast, *options: str) -> dict[str, str]:
    """Name and severity of each finding that is not OK."""
    _, out = check(pgcast, "--json", *options)
    document = json.loads("\n".join(out))
    assert document["version"] == 1
    return {
        one["name"]: one["severity"]
        for one in document["findings"]
        if one["severity"] != "OK"
    }


@pytest.mark.any_version
def test_a_clock_that_no_other_member_shows(
    reconciler: None, patroni: FakePatroni, pgcast: Pgcast, postgresql: PostgreSQL
) -> None:
    """Is judged by the kernel's word."""
    members = [{"name": "pg1", "port": postgresql.port}]
    patroni.will_say([says(200, {"members": members})], "/cluster")
    kept = timekeeping.synchronised()
    expected = {"host.clock": "UNKNOWN" if kept is None else "WARNING"}
    assert wrong(pgcast) == ({} if kept else expected)
    told = [line for line in check(pgcast, "--all")[1] if " host.clock " in line]
    assert len(told) == 1
    assert "the kernel says" in told[0]


def traces(pgcast: Pgcast) -> dict[str, Any]:
    """The state directory: what is in it, whose it is, and what it says."""
    found = {}
    for path in sorted(pgcast.state.iterdir()):
        about = path.stat()
        # The reconciler's own.
        noted = path.name in ("last-pass", "known-primary-main", "unread-marks")
        text = "" if noted else path.read_text().strip()
        found[path.name] = (about.st_uid, about.st_mode, text)
    return found


def test_a_good_host(reconciler: None, bird: Bird, pgcast: Pgcast) -> None:
    """Nothing is found, of any version, and nothing is changed."""
    before = traces(pgcast)
    code, out = check(pgcast)
    assert (code, len(out)) == (0, 1), out
    assert out[0].startswith("OK: ")
    code, out = check(pgcast, "--nagios", "--all")
    assert code == 0
    assert out[0].startswith("PGCAST OK - ")
    assert "'routes_announced'=1;;;0;1" in out[0]
    assert any(line.startswith("OK exabgp.version ExaBGP: ") for line in out)
    assert traces(pgcast) == before
    bird.wait_table({f"{VIP}/32": 99_993})


@pytest.mark.any_version
def test_nothing_is_left_behind(exabgp: Exabgp, pgcast: Pgcast) -> None:
    """Not even in a state directory that is empty, or root's."""
    usable()
    assert "reconciler.running" in wrong(pgcast)
    assert traces(pgcast) == {}
    (pgcast.state / "unread-marks").write_text("0")
    shutil.chown(pgcast.state / "unread-marks", "postgres")
    shutil.chown(pgcast.state, "root", "root")
    pgcast.state.chmod(0o700)
    before = traces(pgcast)
    assert wrong(pgcast)["state.usable"] == "CRITICAL"
    assert traces(pgcast) == before


@pytest.mark.any_version
def test_each_source_is_missed(
    exabgp: Exabgp, reconciler: None, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """What Patroni and its file do not say, one after the other."""
    patroni.will_say([says(502, raw=b"")], "/config")
    assert wrong(pgcast) == {"patroni.ttl": "UNKNOWN"}
    patroni.will_say([says(200, {"ttl": 5})], "/config")
    assert wrong(pgcast) == {
        "patroni.ttl": "CRITICAL",
        "exabgp.hold_time": "WARNING",  # which is 9 s
    }
    patroni.will_say([says(200, {"ttl": 20})], "/config")
    assert wrong(pgcast, "--patroni-config", "/nonexistent") == {
        "patroni.callbacks": "UNKNOWN"
    }
    assert wrong(pgcast) == {}


@pytest.mark.any_version
def test_the_wrong_server_listens(
    exabgp: Exabgp, reconciler: None, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """A port that answers is not yet PostgreSQL's."""
    other = PostgreSQL(b"H")
    other.start()
    clock = {"name": "pg2", "api_url": f"{patroni.url}/patroni"}
    members = [{"name": "pg1", "port": other.port}, clock]
    patroni.will_say([says(200, {"members": members})], "/cluster")
    code, out = check(pgcast)
    assert code == 69
    assert out[0].startswith(
        f"CRITICAL postgresql.listens {VIP}:{other.port}: something answers that is not"
    )
    other.close()
    assert wrong(pgcast) == {"postgresql.listens": "CRITICAL"}


@pytest.mark.any_version
def test_a_route_that_is_not_earned(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Seen by a check that does not set it right."""
    usable()
    pgcast.announce()
    patroni.will_say([REPLICA])
    assert wrong(pgcast) == {
        "route.announced": "CRITICAL",
        "reconciler.running": "CRITICAL",
    }
    bird.wait_table({f"{VIP}/32": 99_993})


@pytest.mark.any_version
def test_a_pass_of_a_timer(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """Is as good as a service, as long as it is recent."""
    usable()
    assert pgcast.run("reconcile")[0] == 0
    assert wrong(pgcast) == {}
    code, out = check(pgcast, "--nagios", "--warning", "@0:", "--critical", "10")
    assert code == 1
    assert "WARNING reconciler.recent pgcast-reconcile: its last pass was " in out[0]
    assert ";@0:;10;0" in out[0]


@pytest.mark.any_version
def test_nothing_is_waited_for_too_long(
    exabgp: Exabgp, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """Patroni hangs, ExaBGP hangs, and a monitoring system has no patience."""
    usable()
    pgcast.run("reconcile")
    over = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    patroni.will_say([hang])
    pgcast.document["clusters"]["main"]["patroni"]["timeout"] = 60
    pgcast.document["exabgp"]["timeout"] = 10
    start = time.monotonic()
    with exabgp.stopped():
        code, out = check(pgcast, "--nagios", "--timeout", "2")
    assert time.monotonic() - start < 8
    assert code == 2
    assert out[0].startswith("PGCAST CRITICAL - ")
    names = {line.split()[1] for line in out[1:]}
    # Nothing is left to tell the clock but the kernel, which may know of nobody who keeps it.
    assert names - {"host.clock"} == {"patroni.reachable", "check.time"}
    over.set()


@contextlib.contextmanager
def gone(directory: Path) -> Iterator[None]:
    """A file system whose server never answers, mounted over the directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0,allow_other"
    place = str(directory).encode()
    assert libc.mount(b"fuse", place, b"fuse", 0, options.encode()) == 0
    try:
        yield
    finally:
        os.close(server)
        assert libc.umount2(place, 2) == 0


@pytest.mark.any_version
@pytest.mark.parametrize("options", [(), ("--nagios",)])
def test_a_state_directory_that_is_far_away(
    exabgp: Exabgp, pgcast: Pgcast, options: tuple[str, ...]
) -> None:
    """Whoever opens a file there waits for ever; a check does not, and it tells."""
    usable()
    pgcast.run("reconcile")
    start = time.monotonic()
    with gone(pgcast.state):
        code, out = check(pgcast, "--timeout", "3", *options)
        assert time.monotonic() - start < 15
    assert code == (2 if options else 69)
    said = f"CRITICAL state.usable {pgcast.state}: gave no answer within "
    told = [line for line in out if line.startswith(said)]
    assert len(told) == 1
    names = {line.split()[1] for line in out if line.startswith("CRITICAL ")}
    assert names == {"state.usable"}


@pytest.mark.any_version
def test_a_disk_without_inodes(exabgp: Exabgp, pgcast: Pgcast) -> None:
    """Has room for bytes, and takes no file."""
    usable()
    options = ["-o", "nr_inodes=8,uid=postgres,gid=postgres", "tmpfs"]
    subprocess.run(["mount", "-t", "tmpfs", *options, pgcast.state], check=True)
    try:
        assert pgcast.run("reconcile")[0] == 0
        with contextlib.suppress(OSError):
            for number in range(9):
                (pgcast.state / f".{number}").touch()
        assert wrong(pgcast)["state.space"] == "WARNING"
    finally:
        subprocess.run(["umount", pgcast.state], check=True)


@pytest.mark.any_version
def test_secrets_that_all_can_read(reconciler: None, pgcast: Pgcast) -> None:
    """The configuration once a header stands in it, and the file of a password."""
    endpoint = pgcast.document["clusters"]["main"]["patroni"]
    password = HOME / "password"
    password.write_text("hunter2\n")
    shutil.chown(password, "postgres")
    password.chmod(0o600)
    endpoint.update(username="pgcast", password_file=str(password))
    assert wrong(pgcast) == {}
    password.chmod(0o644)
    assert wrong(pgcast) == {"config.secret": "WARNING"}
    password.chmod(0o600)
    endpoint["headers"] = {"X-Token": "hunter2"}
    _, (line, _) = check(pgcast)
    assert line.startswith(f"WARNING config.secret {pgcast.path}: holds a secret and")


@pytest.mark.any_version
def test_a_reason_in_no_encoding(exabgp: Exabgp, pgcast: Pgcast) -> None:
    """Is shown as the bytes that it is."""
    usable()
    pgcast.run("withdraw", "main", "--reason", "caf\udce9")
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    process = pgcast.start("cli", "check", env=env)
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert "by root: caf?" in out


@pytest.mark.any_version
@pytest.mark.parametrize("state", ["busy", "a file", "missing", "in only"])
def test_the_pipe(exabgp: Exabgp, pgcast: Pgcast, state: str) -> None:
    """In every state that is not the right one; with Patroni's user named by nothing but its directory."""
    usable()
    base = HOME / "pipe"
    if state == "busy":
        import fcntl

        pgcast.run("reconcile")

        with open(f"{PIPE}.out", "rb+", buffering=0) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert wrong(pgcast) == {"exabgp.answers": "UNKNOWN"}
        return
    pgcast.document["exabgp"]["pipe"] = str(base)
    expected = "pipe.present"
    if state == "a file":
        Path(f"{base}.in").write_text("withdraw route 192.0.2.10/32\n")
        expected = "pipe.fifo"
    elif state == "in only":
        os.mkfifo(f"{base}.in")
        Path(f"{base}.in").chmod(0o666)
    pgcast.run("reconcile")  # a pass at this pipe, whatever became of it
    found = wrong(pgcast)
    assert found == {expected: "CRITICAL"}


def test_the_configuration_is_broken(pgcast: Pgcast) -> None:
    """Every mistake is a finding, and nothing else is looked at."""
    make_pipe()
    pgcast.document["clusters"]["main"]["routes"][0]["prefix"] = "192.0.2.10/24"
    pgcast.document["exabgp"]["timeout"] = "soon"
    code, out = check(pgcast)
    assert code == 78
    assert len(out) == 3
    assert all(
        line.startswith("CRITICAL config.valid /run/checked/") for line in out[:2]
    )
    code, out = check(pgcast, "--nagios")
    assert code == 3
    assert out[0].startswith("PGCAST UNKNOWN - CRITICAL config.valid ")


def test_a_call_with_mistakes_is_unknown_to_monitoring(pgcast: Pgcast) -> None:
    """Also where the mistake stands before the command's name."""
    code, out, err = pgcast.run("--bogus", "check", "--nagios")
    assert (code, err) == (3, "")
    assert out.startswith("PGCAST UNKNOWN - No such option")
    assert pgcast.run("--bogus", "check")[0] == 2
