"""The whole lab: three members, the store, the router and a client, up and down.

What it can be asked, and waits for, is in `questions`.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from . import services
from .host import Host, LabError
from .network import MEMBERS, Network, etc_hosts
from .questions import Questions

CHECKOUT = Path(__file__).resolve().parents[2]
ECHO_CALLBACK = CHECKOUT / "tests/lab/echo-callback.sh"
CALLBACK = "/opt/pgcast/bin/pgcast-callback"
PATRONICTL = ["-c", "/etc/patroni/patroni.yml"]

SCHEMA = """
CREATE ROLE app LOGIN PASSWORD 'app-secret';
CREATE TABLE writes (id bigserial PRIMARY KEY, attempt bigint, at timestamptz DEFAULT now());
GRANT INSERT, SELECT ON writes TO app;
GRANT USAGE ON SEQUENCE writes_id_seq TO app;
CREATE FUNCTION member() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT trim(pg_read_file('/proc/sys/kernel/hostname'), E'\\n') $$;
CREATE FUNCTION timeline() RETURNS int LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int $$;
"""


class Lab(Questions):
    """`with Lab() as lab:` a healthy cluster whose leader has the route; nothing remains."""

    def __init__(
        self,
        exabgp: str = "5.0.15",
        callback: Path | None = None,
        files: Mapping[str, str] | None = None,
        patroni_env: Mapping[str, str] | None = None,
    ) -> None:
        """`callback`: run by Patroni instead of pgcast's. `files`: path on a member → text,
        instead of what examples/ has for it."""
        self.exabgp_version = exabgp
        self.callback = callback
        self.directory = _directory()
        self.logs_directory = self._made("logs")
        self._lock: IO[str] = (self.directory / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.hosts = {
            name: Host(name, {}) for name in ("router", "etcd", *MEMBERS, "client")
        }
        self.network = Network(self.hosts)
        self.router = self.hosts["router"]
        self.client = self.hosts["client"]
        logs = self.logs_directory
        self.etcd = services.etcd(self.hosts["etcd"], logs)
        self.bird = services.bird(self.router, logs)
        self.exabgp, self.patroni, self.reconciler = {}, {}, {}
        for name in MEMBERS:
            host = self.hosts[name]
            self.exabgp[name] = services.exabgp(host, logs, exabgp)
            self.patroni[name] = services.patroni(host, logs, patroni_env or {})
            self.reconciler[name] = services.reconciler(host, logs)
        for host in self.hosts.values():
            host.files["/etc/hosts"] = etc_hosts()
        self.router.files["/etc/bird/bird.conf"] = example("bird.conf")
        for name in MEMBERS:
            self.hosts[name].files.update(self._member_files(name))
            self.hosts[name].files.update(files or {})

    def _member_files(self, name: str) -> dict[str, Any]:
        files: dict[str, Any] = {
            f"/etc/{program}": example(file)
            for program, file in {
                "patroni/patroni.yml": "patroni.yml",
                "pgcast/pgcast.yml": "pgcast.yml",
            }.items()
        }
        # The one file that has to name the server's own address.
        files["/etc/exabgp/exabgp.conf"] = example("exabgp.conf").replace(
            MEMBERS["pg1"], MEMBERS[name]
        )
        files["/var/lib/postgresql"] = self._made(f"{name}/postgresql", "postgres")
        files["/var/lib/pgcast"] = self._made(f"{name}/pgcast", "postgres")
        venv = services.CACHE / "pgcast"
        if venv.exists():
            files["/opt/pgcast"] = venv
        elif self.callback is None:
            raise LabError(f"{venv} is missing: run tests/lab/install.sh")
        return files

    def _made(self, name: str, owner: str = "root") -> Path:
        path = self.directory / name
        path.mkdir(parents=True)
        shutil.chown(path, owner, owner)
        return path

    # Up and down

    def __enter__(self) -> Lab:
        try:
            self.up()
        except BaseException as error:
            said = self.logs() if isinstance(error, LabError) else ""
            self.down()
            if said:
                raise LabError(f"{error}\n{said}") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Switch everything on and wait until the leader has the route."""
        for host in self.hosts.values():
            host.up()
        self.network.up()
        self.etcd.start()
        self.bird.start()
        for name in MEMBERS:
            self._start_member(name)
        self.wait_for(self.leader, 60, "a leader")
        self.wait_for(lambda: self.sql(SCHEMA, check=False), 20, "the tables")
        self.wait_healthy(90)

    def down(self) -> None:
        """Switch everything off and leave nothing behind."""
        for host in reversed(list(self.hosts.values())):
            host.kill_init()
        for service in (
            self.etcd,
            self.bird,
            *self.exabgp.values(),
            *self.patroni.values(),
            *self.reconciler.values(),
        ):
            service.forget()
        self._lock.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_member(self, name: str) -> None:
        self.use_callback(self.callback, [name])
        self.exabgp[name].start()
        self.patroni[name].start()

    def reconcile(self, wanted: bool) -> None:
        """Start the reconciler on every member, or stop it; off when the lab comes up."""
        for service in self.reconciler.values():
            if wanted and not service.running:
                service.start()
            elif not wanted:
                service.stop()

    def use_callback(
        self, script: Path | None, members: list[str] | None = None
    ) -> None:
        """Let Patroni run another script from now on; None for pgcast's own."""
        self.callback = script
        for name in members or list(MEMBERS):
            host = self.hosts[name]
            while host.run(["umount", CALLBACK], check=False).returncode == 0:
                pass
            if script is not None:
                copy = f"/run/callback-{script.name}"
                host.run(
                    ["sh", "-c", f"cat > {copy}; chmod 755 {copy}"],
                    stdin=script.read_text(),
                )
                host.run(
                    ["sh", "-c", f"mkdir -p {Path(CALLBACK).parent}; : >> {CALLBACK}"]
                )
                host.run(["mount", "--bind", copy, CALLBACK])

    def power_cut(self, name: str) -> None:
        """Everything on the host ends at once, and the router hears nothing of it."""
        self.network.cut(name)
        self.hosts[name].kill_init()
        for services_of in (self.exabgp, self.patroni, self.reconciler):
            if name in services_of:
                services_of[name].forget()

    def power_on(self, name: str) -> None:
        """Boot a member again, with the disk it had."""
        self.hosts[name].up()
        self.network.attach(name)
        self._start_member(name)

    def repair(self) -> None:
        """Mend and start whatever is broken or stopped; wait until all is well."""
        self.mend()
        self.wait_healthy(90)

    def mend(self) -> None:
        """Mend and start whatever is broken or stopped."""
        for name in MEMBERS:
            if not self.hosts[name].running:
                self.power_on(name)
                continue
            self.network.mend(name)
            self.network.heal(name)
            for service in (self.exabgp[name], self.patroni[name]):
                if not service.running:
                    service.start()

    # Orders

    def patronictl(self, *args: str, timeout: float = 60) -> str:
        """Run patronictl on a member whose host is on."""
        return (
            self._patronictl_host()
            .run(_patronictl(args), "postgres", timeout=timeout)
            .stdout
        )

    def switchover(
        self, to: str | None = None, wait: bool = True
    ) -> subprocess.Popen[str] | None:
        """Hand over the leadership, with patronictl. Without `wait`, return while it runs."""
        leader = self.leader()
        if leader is None:
            raise LabError("there is no leader to switch over from")
        args = ["switchover", "main", "--leader", leader, "--force"]
        args += ["--candidate", to] if to else []
        if wait:
            self.patronictl(*args)
            return None
        return self._patronictl_host().popen(_patronictl(args), "postgres")

    def _patronictl_host(self) -> Host:
        return next(self.hosts[n] for n in MEMBERS if self.hosts[n].running)

    def logs(self, lines: int = 40) -> str:
        """The tails of all logs, for a test that failed."""
        every = [self.etcd, self.bird, *self.exabgp.values(), *self.patroni.values()]
        every += self.reconciler.values()
        return "\n".join(f"===== {s.log.name}\n{s.tail(lines)}" for s in every)


def _patronictl(args: Any) -> list[str]:
    return [str(services.CACHE / "lab/bin/patronictl"), *PATRONICTL, *args]


def example(name: str) -> str:
    """The text of a file in examples/."""
    return (CHECKOUT / "examples" / name).read_text()


def _directory() -> Path:
    """A new directory that postgres may enter; those of labs that were killed are removed."""
    parent = Path(tempfile.gettempdir())
    for old in parent.glob("pgcast-lab-*"):
        with contextlib.suppress(OSError), (old / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix="pgcast-lab-", dir=parent))
    path.chmod(0o755)
    return path
