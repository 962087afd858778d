"""The nights of the README's "A night on call", played in the lab: what is typed, and what it says.

`python -m tests.lab night` prints the transcript; a test holds the README against it.
"""

from __future__ import annotations

import shlex
import signal

from .host import Host
from .lab import Lab
from .network import VIP
from .services import PIPE

Scene = list[str]
"""The lines of one scene: `host$ command`, and what it printed."""


def night(lab: Lab) -> dict[str, Scene]:
    """Three scenes, each from a healthy lab with reconcilers to a healthy lab."""
    scenes = {}
    for name, play in (("failover", failover), ("drain", drain), ("pipe", pipe)):
        lab.repair()
        lab.reconcile(True)
        lab.wait_for(lambda: _all_well(lab), 30, "good checks")
        scenes[name] = play(lab)
    lab.reconcile(False)
    lab.repair()
    return scenes


def failover(lab: Lab) -> Scene:
    """Patroni and PostgreSQL die on the leader; the host and its ExaBGP live on.

    The other members' reconcilers stand still meanwhile: callback and reconciler announce the
    same at the same moment, and the README tells of a night on which the callback was first.
    """
    old = lab.leader() or ""
    others = [lab.reconciler[member] for member in lab.members if member != old]
    for reconciler in others:
        reconciler.signal(signal.SIGSTOP)
    try:
        lab.patroni[old].kill_all()
        new = lab.wait_for(lambda: lab.another_leader(old), 60, "another leader")
        lab.wait_for(
            lambda: [p.member for p in lab.bird_paths()] == [new], 30, "lone path"
        )
    finally:
        for reconciler in others:
            reconciler.signal(signal.SIGCONT)
    lab.wait_for(
        lambda: any(m.state == "streaming" for m in lab.cluster()), 60, "a replica"
    )
    host = lab.hosts[new]
    lab.wait_for(
        lambda: "all is as it must be" in _typed(host, "pgcast status")[1],
        30,
        "good status",
    )
    history = f"pgcast history main {VIP}/32"
    return [
        *_typed(host, "pgcast status --cluster"),
        *_typed(host, f"{history} --lines 1"),
        *_typed(lab.hosts[old], f"{history} --lines 2"),
    ]


def drain(lab: Lab) -> Scene:
    """The leader's host gets a new kernel."""
    old = lab.leader() or ""
    host = lab.hosts[old]
    lab.patronictl("switchover", "main", "--leader", old, "--force")
    lab.wait_healthy(60)
    on = "pgcast maintenance on --for 2h --reason 'new kernel'"
    scene = _typed(host, on)
    scene += _typed(host, "pgcast status")
    scene += _typed(host, "pgcast maintenance off")
    return scene


def pipe(lab: Lab) -> Scene:
    """Somebody made ExaBGP's pipe anew, as root."""
    member = lab.leader() or ""
    host = lab.hosts[member]
    host.run(["chown", "root:root", f"{PIPE}.in", f"{PIPE}.out"])
    host.run(["chmod", "600", f"{PIPE}.in", f"{PIPE}.out"])
    scene = _typed(host, "pgcast check")
    host.run(["chown", "exabgp:postgres", f"{PIPE}.in", f"{PIPE}.out"])
    host.run(["chmod", "660", f"{PIPE}.in", f"{PIPE}.out"])
    scene += _typed(host, "pgcast check")
    return scene


def _all_well(lab: Lab) -> bool:
    """Whether `pgcast check` finds nothing anywhere, the reconcilers' first passes included."""
    said = [_typed(lab.hosts[member], "pgcast check") for member in lab.members]
    return all(lines[1].startswith("OK") for lines in said)


def _typed(host: Host, command: str) -> Scene:
    program, *arguments = shlex.split(command)
    argv = [f"/opt/pgcast/bin/{program}", *arguments]
    done = host.run(argv, user="postgres", check=False)
    said = f"{done.stdout}{done.stderr}".rstrip().splitlines()
    return [f"{host.name}$ {command}", *said, ""]
