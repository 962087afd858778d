"""What goes wrong in a soak: each fault is done, kept for a while, and undone.

It exists so that a run draws faults by lot without knowing what they are. Durations come from
the scene's own dice: the same seed and number do the same, whatever happened before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from .host import LabError
from .lab import Lab
from .services import ExaBGP, Service, postgresql_programs


@dataclasses.dataclass
class Scene:
    """Where a fault happens: in a healthy lab, with this leader and this replica."""

    lab: Lab
    chance: random.Random
    leader: str
    replica: str
    member: str = ""
    """Who is hit: the leader, unless the fault says otherwise."""

    def __post_init__(self) -> None:
        self.member = self.leader
        self._never = threading.Event()

    def hold(self, least: float, most: float) -> None:
        """Let the fault last."""
        self._never.wait(self.chance.uniform(least, most))

    def until_another_leads(self) -> None:
        self.lab.wait_for(
            lambda: self.lab.another_leader(self.leader), 60, "another leader"
        )

    @contextlib.contextmanager
    def stopped(self, service: Service) -> Iterator[None]:
        """SIGSTOP now, SIGCONT at the end."""
        service.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            service.signal(signal.SIGCONT)


Fault = Callable[[Scene], None]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    """Enter a fault under a name."""

    def enter(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return enter


def kinds(reconciler: bool) -> list[str]:
    """The faults' names; without reconcilers nothing can happen to them."""
    return [name for name in FAULTS if reconciler or "reconciler" not in name]


# Patroni and PostgreSQL


@fault("Patroni hangs until another leads")
def _patroni_hangs_long(scene: Scene) -> None:
    with scene.stopped(scene.lab.patroni[scene.leader]):
        scene.until_another_leads()
        scene.hold(0, 5)


@fault("Patroni hangs 3..8 s")
def _patroni_hangs(scene: Scene) -> None:
    with scene.stopped(scene.lab.patroni[scene.leader]):
        scene.hold(3, 8)


@fault("Patroni killed")
def _patroni_killed(scene: Scene) -> None:
    scene.lab.patroni[scene.leader].kill()
    scene.hold(1, 25)
    scene.lab.patroni[scene.leader].start()


@fault("Patroni, PostgreSQL killed")
def _both_killed(scene: Scene) -> None:
    scene.lab.patroni[scene.leader].kill_all()
    scene.hold(1, 25)
    scene.lab.patroni[scene.leader].start()


@fault("postmaster killed")
def _postmaster_killed(scene: Scene) -> None:
    if not scene.lab.hosts[scene.leader].kill(signal.SIGKILL, r"/postgres -D "):
        raise LabError("there is no postmaster to kill")
    scene.hold(0, 2)


@fault("pause, pg_ctl stop, resume")
def _stopped_in_pause(scene: Scene) -> None:
    lab = scene.lab
    lab.patronictl("pause", "main", "--wait")
    try:
        argv = [str(postgresql_programs() / "pg_ctl"), "-m", "fast", "stop"]
        argv += ["-D", "/var/lib/postgresql/main"]
        lab.hosts[scene.leader].run(argv, user="postgres")
        scene.hold(1, 8)
    finally:
        lab.patronictl("resume", "main", "--wait")


# Orders to Patroni


@fault("switchover")
def _switchover(scene: Scene) -> None:
    scene.lab.switchover()


@fault("switchover, callbacks killed")
def _callbacks_killed(scene: Scene) -> None:
    lab = scene.lab
    running = lab.switchover(wait=False)
    assert running is not None
    deadline = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline:
        if any(lab.hosts[n].processes("/pgcast-callback ") for n in lab.members):
            scene.hold(0, 0.15)
            for name in lab.members:
                lab.patroni[name].kill_callbacks()
    if running.wait(10) != 0:
        raise LabError(f"patronictl switchover: exit code {running.returncode}")


@fault("restart of the leader")
def _restart(scene: Scene) -> None:
    scene.lab.patronictl("restart", "main", scene.leader, "--force")


@fault("reinit of a replica")
def _reinit(scene: Scene) -> None:
    scene.member = scene.replica
    # pg_basebackup waits for a checkpoint that takes its time; this leaves it little to write.
    scene.lab.sql("CHECKPOINT", scene.leader)
    scene.lab.patronictl(
        "reinit", "main", scene.replica, "--force", "--wait", timeout=90
    )


# Hosts and the network


@fault("power cut of the leader")
def _power_cut(scene: Scene) -> None:
    scene.lab.power_cut(scene.leader)
    scene.hold(1, 25)


@fault("power cut of a replica")
def _power_cut_replica(scene: Scene) -> None:
    scene.member = scene.replica
    scene.lab.power_cut(scene.replica)
    scene.hold(1, 10)


@fault("leader cut off from etcd")
def _partition(scene: Scene) -> None:
    scene.lab.network.partition(scene.leader, ["etcd"])
    try:
        scene.hold(3, 30)
    finally:
        scene.lab.network.heal(scene.leader, ["etcd"])


@fault("etcd hangs 5..15 s")
def _etcd_hangs(scene: Scene) -> None:
    scene.member = "etcd"
    with scene.stopped(scene.lab.etcd):
        scene.hold(5, 15)


# ExaBGP


def _exabgp_ends(scene: Scene, number: signal.Signals) -> None:
    exabgp = scene.lab.exabgp[scene.leader]
    exabgp.signal(number)
    scene.lab.wait_for(lambda: not exabgp.running, 30, "end of ExaBGP")
    scene.hold(0, 3)
    exabgp.start()


@fault("ExaBGP TERM")
def _exabgp_term(scene: Scene) -> None:
    _exabgp_ends(scene, signal.SIGTERM)


@fault("ExaBGP KILL")
def _exabgp_kill(scene: Scene) -> None:
    _exabgp_ends(scene, signal.SIGKILL)


@fault("ExaBGP USR1")
def _exabgp_reloads(scene: Scene) -> None:
    scene.lab.exabgp[scene.leader].signal(signal.SIGUSR1)
    scene.hold(0, 2)


@fault("ExaBGP's helper killed")
def _helper_killed(scene: Scene) -> None:
    helpers = children(scene.lab.exabgp[scene.leader])
    if not helpers:
        raise LabError("ExaBGP has no helper to kill")
    for pid in helpers:
        os.kill(pid, signal.SIGKILL)
    scene.hold(0, 2)


def children(exabgp: ExaBGP) -> list[int]:
    """The processes that ExaBGP runs: the helper that has the pipe."""
    said = Path(f"/proc/{exabgp.pid}/task/{exabgp.pid}/children").read_text()
    return [int(pid) for pid in said.split()]


# The reconciler


@fault("reconciler killed")
def _reconciler_killed(scene: Scene) -> None:
    scene.lab.reconciler[scene.leader].kill()
    scene.hold(1, 10)
    scene.lab.reconciler[scene.leader].start()


@fault("reconciler hangs 1..10 s")
def _reconciler_hangs(scene: Scene) -> None:
    with scene.stopped(scene.lab.reconciler[scene.leader]):
        scene.hold(1, 10)
