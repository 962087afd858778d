"""What surrounds pgcast and goes wrong in tests and soaks: its state directory, the clock, and
settings of Patroni's under which faults take another course.

It exists so that both break them in the same way.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from .faults import Scene, fault
from .host import Host, LabError
from .lab import Lab
from .network import VIP
from .services import Service

DAMAGE = {
    "read-only": "mount -t tmpfs -o ro tmpfs /var/lib/pgcast",
    "full": "mount -t tmpfs -o size=4k tmpfs /var/lib/pgcast;"
    " head -c 8192 /dev/zero > /var/lib/pgcast/filler || true",
    "missing": "umount /var/lib/pgcast; rmdir /var/lib/pgcast",
    "of somebody else": "mount -t tmpfs -o mode=700 tmpfs /var/lib/pgcast",
}
RESTORE = (
    "[ ! -d /var/lib/pgcast ] || umount --lazy /var/lib/pgcast;"
    " install -d -o postgres -g postgres -m 0750 /var/lib/pgcast"
)
LOOP_WAIT = 5  # seconds, in examples/patroni.yml
SET_CLOCK = "printf %%s '%s' > /run/faketime && chmod 644 /run/faketime"


def set_clock(host: Host, offset: str) -> None:
    """Let the clock on the wall, for who was started for it, be off by "+0", "-1d" ..."""
    host.run(["sh", "-euc", SET_CLOCK % offset])


@contextlib.contextmanager
def faked_clock(service: Service) -> Iterator[None]:
    """A service that is stopped is started within this by a clock that `set_clock` sets."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    plain = service.argv
    service.argv = [  # env, as the library must not be loaded before the user is changed
        "env",
        f"LD_PRELOAD={library}",
        "FAKETIME_TIMESTAMP_FILE=/run/faketime",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        *plain,
    ]
    set_clock(service.host, "+0")
    try:
        yield
    finally:
        service.argv = plain


def in_failsafe(lab: Lab, name: str) -> bool:
    """Whether the member keeps the lead by failsafe mode. Asks nothing that Patroni would have
    to ask etcd for."""
    with contextlib.suppress(OSError, LabError):
        return bool(lab.rest(name, "/patroni")[1].get("failsafe_mode_is_active"))
    return False


def _knows_failsafe(lab: Lab, name: str) -> bool:
    with contextlib.suppress(OSError, LabError):
        return bool(lab.rest(name, "/config")[1].get("failsafe_mode"))
    return False


def wait_failsafe(lab: Lab) -> None:
    """Wait until failsafe mode, which was just configured, is known to every member: the leader
    writes down who they are in one of its loops, and the others read that in their next.
    """
    lab.wait_for(
        lambda: all(_knows_failsafe(lab, name) for name in lab.members),
        30,
        "failsafe mode",
    )
    since = time.time()
    lab.wait_for(
        lambda: all(
            lab.rest(name, "/patroni")[1]["dcs_last_seen"] > since + 2 * LOOP_WAIT
            for name in lab.members
        ),
        30,
        "two loops of each Patroni",
    )


@contextlib.contextmanager
def configured(lab: Lab, setting: str, value: str, usual: str) -> Iterator[None]:
    """A dynamic setting of Patroni's, which has its usual value again afterwards."""
    edit = ("edit-config", "main", "--force", "-s")
    lab.patronictl(*edit, f"{setting}={value}")
    try:
        yield
    finally:
        lab.patronictl(*edit, f"{setting}={usual}")


@fault("reconciler: state dir damaged")
def _state_directory(scene: Scene) -> None:
    """In one way of those that leave a directory; the route is withdrawn by hand meanwhile."""
    host, (*ways,) = scene.lab.hosts[scene.leader], sorted(set(DAMAGE) - {"missing"})
    host.run(["sh", "-euc", DAMAGE[scene.chance.choice(ways)]])
    try:
        scene.lab.exabgp[scene.leader].command(f"withdraw route {VIP}/32")
        scene.hold(1, 10)
    finally:
        host.run(["sh", "-c", "umount --lazy /var/lib/pgcast"])


@fault("reconciler: clock set back")
def _clock(scene: Scene) -> None:
    service = scene.lab.reconciler[scene.leader]
    service.stop()
    with faked_clock(service):
        service.start()
    with scene.stopped(scene.lab.patroni[scene.leader]):
        set_clock(service.host, "-1d")
        scene.hold(1, 25)
    service.stop()
    service.start()


@fault("etcd hangs, failsafe mode")
def _failsafe(scene: Scene) -> None:
    lab = scene.lab
    scene.member = "etcd"
    with configured(lab, "failsafe_mode", "true", "null"):
        wait_failsafe(lab)
        with scene.stopped(lab.etcd):
            scene.hold(5, 25)
        lab.wait_for(lambda: lab.leader() is not None, 60, "a leader")


@fault("killed, primary_start_timeout 0")
def _no_time_to_start(scene: Scene) -> None:
    with configured(scene.lab, "primary_start_timeout", "0", "15"):
        scene.lab.patroni[scene.leader].kill_postgres()
        scene.until_another_leads()
