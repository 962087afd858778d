"""The programs that run on the hosts, each started as its users start it.

It exists so that a test stops, kills, signals and starts again without knowing a command line.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .host import Host, LabError, child_of
from .network import LAN, VIP

CACHE = Path(os.environ.get("PGCAST_LAB_CACHE", "/var/cache/pgcast"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PIPE = "/run/exabgp/exabgp"
PATRONI_YML = "/etc/patroni/patroni.yml"


class Service:
    """One program on one host; its output goes to a file in the lab's directory."""

    def __init__(
        self,
        name: str,
        host: Host,
        log: Path,
        argv: list[str],
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.log = log
        self.argv = argv
        self.user = user
        self.env = dict(env or {})
        self._process: subprocess.Popen[str] | None = None
        self._pid: int | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The program's pid, as the machine sees it."""
        if self._pid is None or not self.running:
            raise LabError(f"{self.name} on {self.host.name} is not running")
        return self._pid

    def start(self) -> None:
        """Start, without waiting until it serves."""
        if self.running:
            raise LabError(f"{self.name} on {self.host.name} is running already")
        with self.log.open("a") as log:
            log.write(f"--- {self.host.name}: {shlex.join(self.argv)}\n")
            log.flush()
            self._process = self.host.popen(self.argv, self.user, self.env, stdout=log)
        self._pid = child_of(self._process.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the program's first process."""
        os.kill(self.pid, number)
        if number in (signal.SIGCONT, signal.SIGKILL) and self._process is not None:
            # nsenter, its parent, stopped when it was stopped.
            self._process.send_signal(signal.SIGCONT)

    def stop(self, timeout: float = 30) -> None:
        """Ask it to end, and wait until it has."""
        if self.running:
            self.signal(signal.SIGTERM)
        self._wait(timeout)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.running:
            self.signal(signal.SIGKILL)
        self._wait(10)

    def forget(self) -> None:
        """Its host is gone, and so is it."""
        self._wait(10)

    def _wait(self, timeout: float) -> None:
        if self._process is not None:
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise LabError(
                    f"{self.name} on {self.host.name} does not end"
                ) from None
        self._process = self._pid = None

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class ExaBGP(Service):
    """The speaker of a member, with its pair of named pipes."""

    def start(self) -> None:
        """Make the pipes, for ExaBGP does not; and start, as its own user."""
        script = (
            "install -d -o exabgp -g postgres -m 0750 /run/exabgp && cd /run/exabgp && "
            "for end in in out; do [ -p exabgp.$end ] || mkfifo -m 0660 exabgp.$end; done && "
            "chown exabgp:postgres exabgp.in exabgp.out"
        )
        self.host.run(["sh", "-euc", script])
        super().start()

    def command(self, line: str) -> None:
        """Write a line into the pipe, as an operator's `echo` does."""
        script = f"printf '%s\\n' {shlex.quote(line)} > {PIPE}.in"
        self.host.run(["sh", "-c", script], user="postgres", timeout=5)


class Patroni(Service):
    """Patroni of a member, and the PostgreSQL that it runs."""

    def start(self) -> None:
        """Start, with the directory that systemd-tmpfiles makes for PostgreSQL's sockets."""
        self.host.run(
            ["install", "-d", "-o", "postgres", "-g", "postgres", "/run/postgresql"]
        )
        super().start()

    def kill_all(self) -> None:
        """Patroni and PostgreSQL, SIGKILL, while the host and its ExaBGP live on."""
        if self.running:
            self.signal(signal.SIGKILL)
        self.kill_postgres()
        self.kill()

    def kill_postgres(self) -> None:
        """SIGKILL to every process of PostgreSQL, until none is left."""
        pattern = r"(^|/)postgres(:| -D)"
        deadline = time.monotonic() + 10
        while self.host.kill(signal.SIGKILL, pattern):
            if time.monotonic() > deadline:
                raise LabError(f"PostgreSQL on {self.host.name} does not die")
            time.sleep(0.01)

    def kill_callbacks(self) -> int:
        """SIGKILL to the callbacks that run right now; how many there were."""
        return self.host.kill(signal.SIGKILL, r"/pgcast-callback( |$)")


def etcd(host: Host, logs: Path) -> Service:
    """The store; its data live in memory and die with its host."""
    argv = ["etcd", "--name", "etcd", "--data-dir", "/run/etcd", "--log-level", "warn"]
    argv += ["--listen-client-urls", "http://0.0.0.0:2379"]
    argv += ["--advertise-client-urls", "http://etcd:2379"]
    return Service("etcd", host, logs / "etcd.log", argv)


def bird(host: Host, logs: Path) -> Service:
    """The router, as Debian's unit starts it."""
    script = "install -d -o bird -g bird /run/bird && exec bird -f -u bird -g bird"
    return Service("bird", host, logs / "bird.log", ["sh", "-euc", script])


def exabgp(host: Host, logs: Path, version: str) -> ExaBGP:
    """The speaker, of a version that install.sh has installed."""
    program = CACHE / f"exabgp-{version}/bin/exabgp"
    if not program.exists():
        raise LabError(f"{program} is missing: run tests/lab/install.sh")
    env = {
        "exabgp_daemon_user": "exabgp",
        "exabgp_log_destination": "stdout",
        "exabgp_log_level": "INFO",
        "exabgp_log_statistics": "false",
    }
    argv = [str(program), "/etc/exabgp/exabgp.conf"]
    return ExaBGP("exabgp", host, logs / f"{host.name}-exabgp.log", argv, "exabgp", env)


def patroni(host: Host, logs: Path, settings: Mapping[str, str]) -> Patroni:
    """Patroni; its name, addresses and passwords come from the environment."""
    address = LAN[host.name]
    env = {
        "PATRONI_NAME": host.name,
        "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{address}:8008",
        "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{address}:5432",
        "PATRONI_POSTGRESQL_BIN_DIR": str(postgresql_programs()),
        "PATRONI_SUPERUSER_USERNAME": "postgres",
        "PATRONI_SUPERUSER_PASSWORD": "super-secret",
        "PATRONI_REPLICATION_USERNAME": "replicator",
        "PATRONI_REPLICATION_PASSWORD": "replicator-secret",
        "PATRONI_REWIND_USERNAME": "rewinder",
        "PATRONI_REWIND_PASSWORD": "rewinder-secret",
        **settings,
    }
    argv = [str(CACHE / "lab/bin/patroni"), "/etc/patroni/patroni.yml"]
    return Patroni(
        "patroni", host, logs / f"{host.name}-patroni.log", argv, "postgres", env
    )


def reconciler(host: Host, logs: Path) -> Service:
    """What examples/pgcast-reconcile.service starts, as the user that it names."""
    lines = (EXAMPLES / "pgcast-reconcile.service").read_text().splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line)
    log = logs / f"{host.name}-reconcile.log"
    argv = shlex.split(unit["ExecStart"])
    return Service("reconcile", host, log, argv, unit["User"])


def postgresql_programs() -> Path:
    """Debian's directory of PostgreSQL's programs, of the newest version there is."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name)
    )
    if not found:
        raise LabError("PostgreSQL is missing: run tests/lab/install.sh")
    return found[-1]


def app_dsn(address: str = VIP) -> str:
    """How a client connects."""
    return (
        f"host={address} dbname=postgres user=app password=app-secret sslmode=disable"
    )
