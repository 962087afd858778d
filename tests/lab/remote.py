"""A primary outside the cluster, which makes the cluster a standby cluster.

It exists for the roles that only a standby cluster has. The primary is a plain PostgreSQL on
etcd's host, a copy of the leader; nothing of it remains.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from .host import Host
from .lab import Lab
from .network import LAN, MEMBERS
from .services import Service, postgresql_programs

DATA = "/var/lib/postgresql/main"


@contextlib.contextmanager
def standby_cluster(lab: Lab) -> Iterator[None]:
    """All members follow another primary meanwhile, one of them as the standby leader."""
    host = lab.hosts["etcd"]
    leader = lab.leader() or ""
    _copy(host, MEMBERS[leader])
    # A leader that was a replica once still has the slot of that time in its file.
    argv = [str(postgresql_programs() / "postgres"), "-D", DATA]
    argv += ["-c", "primary_slot_name="]
    log = lab.logs_directory / "remote-postgresql.log"
    remote = Service("postgresql", host, log, argv, "postgres")
    remote.start()
    try:
        # It follows the leader to its last record, so that no member has more than it.
        streams = (
            f"SELECT 1 FROM pg_stat_replication WHERE client_addr = '{LAN[host.name]}'"
        )
        lab.wait_for(lambda: lab.sql(streams, leader) == "1", 20, "remote replica")
        where = ["--host", LAN[host.name], "--port", "5432"]
        lab.patronictl("demote-cluster", "main", "--force", *where)
        try:
            lab.sql("SELECT pg_promote()", host.name)
            yield
        finally:
            lab.patronictl("promote-cluster", "main", "--force")
    finally:
        remote.signal(signal.SIGINT)
        remote.forget()
        host.run(["rm", "-r", DATA])


def _copy(host: Host, leader: str) -> None:
    """A replica of the leader in the host's data directory."""
    for directory in ("/run/postgresql", "/var/lib/postgresql"):
        host.run(["install", "-d", "-o", "postgres", "-g", "postgres", directory])
    argv = ["pg_basebackup", "--host", leader, "--username", "replicator"]
    argv += ["--pgdata", DATA, "--write-recovery-conf", "--checkpoint", "fast"]
    host.run(argv, "postgres", timeout=60, env={"PGPASSWORD": "replicator-secret"})
