"""Standing orders as files: what is written is what is read, and damage never announces."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pgcast_hooks import record, timekeeping
from pgcast_hooks.errors import OverrideNotKept
from pgcast_hooks.model import Order, Override, Prefix
from pgcast_hooks.override import Overrides
from tests.integration.waiting import until

ROOT = Path(record.__file__).parents[1]
V4: Prefix = ipaddress.ip_network("192.0.2.10/32")
V6: Prefix = ipaddress.ip_network("2001:db8::10/128")
DAY = 86_400


@pytest.fixture
def overrides(tmp_path: Path) -> Overrides:
    return Overrides(str(tmp_path))


def file(tmp_path: Path, prefix: Prefix = V4) -> Path:
    return tmp_path / f"override-{prefix}".replace("/", "_")


def change(tmp_path: Path, prefix: Prefix = V4, **values: Any) -> None:
    """Another content, as if time had passed or somebody had edited it."""
    path = file(tmp_path, prefix)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture(autouse=True)
def synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is right, whatever this machine's kernel says."""
    monkeypatch.setattr(timekeeping, "synchronised", lambda: True)


@pytest.mark.parametrize("left", [None, 60.0])
@pytest.mark.parametrize("prefix", [V4, V6])
def test_an_order_stands(overrides: Overrides, prefix: Any, left: float | None) -> None:
    """With who, when and why, on one line; for its own route."""
    reason = 'disk repair, "déjà\n\x1b[2Jvu"\n'
    overrides.set(prefix, Override(Order.WITHDRAW, reason, "alice (root)", left=left))
    found = overrides.standing(prefix)
    assert found is not None
    assert (found.order, found.reason, found.by) == (
        Order.WITHDRAW,
        'disk repair, "déjà ?[2Jvu"',
        "alice (root)",
    )
    assert abs(found.since - time.time()) < 60
    if left is None:
        assert (found.left, found.until) == (None, None)
    else:
        assert 0 < (found.left or 0) <= left
        assert (found.until or 0) == pytest.approx(found.since + left, abs=0.01)
    other = V6 if prefix is V4 else V4
    assert overrides.standing(other) is None
    assert overrides.trouble is None


def test_the_host_comes_first(overrides: Overrides) -> None:
    """Maintenance withdraws what an order would announce; after it the order is there again."""
    overrides.set(V4, Override(Order.ANNOUNCE, "x", "alice", left=60))
    overrides.set(None, Override(Order.WITHDRAW, "kernel", "bob"))
    found = overrides.standing(V4)
    assert found is not None
    assert (found.order, found.by, found.whole_host) == (Order.WITHDRAW, "bob", True)
    assert overrides.standing(V6) == found
    ended = overrides.end(None)
    assert ended is not None
    assert ended.by == "bob"
    found = overrides.standing(V4)
    assert found is not None
    assert (found.order, found.whole_host) == (Order.ANNOUNCE, False)
    assert overrides.end(V6) is None


def test_an_order_expires(overrides: Overrides, tmp_path: Path) -> None:
    """In the boot in which it was given, by a clock that nobody sets."""
    overrides.set(V4, Override(Order.WITHDRAW, "x", "alice", left=60))
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    change(tmp_path, since=time.time() - 2 * DAY, until=time.time() - DAY)
    assert overrides.standing(V4) is not None
    change(tmp_path, boot_until=now - 0.1, until=time.time() + DAY)
    assert overrides.standing(V4) is None
    assert overrides.trouble is None


@pytest.mark.parametrize(
    ("order", "since", "until", "left"),
    [
        (Order.WITHDRAW, -60, 60, 60),
        (Order.WITHDRAW, -60, -1, None),
        (Order.ANNOUNCE, -60, 60, 60),
        (Order.ANNOUNCE, -60, -1, None),
        # The clock is behind the order: nobody knows how long ago it was given.
        (Order.WITHDRAW, DAY, DAY + 60, 60),
        (Order.ANNOUNCE, DAY, DAY + 60, None),
    ],
)
def test_an_order_survives_a_reboot(
    overrides: Overrides,
    tmp_path: Path,
    order: Order,
    since: float,
    until: float,
    left: float | None,
) -> None:
    """And expires by the clock on the wall then; in doubt, nothing is announced."""
    overrides.set(V4, Override(order, "x", "alice", left=5))
    now = time.time()
    change(tmp_path, boot="before", since=now + since, until=now + until)
    found = overrides.standing(V4)
    assert (found.left if found else None) == pytest.approx(left, abs=5)


@pytest.mark.parametrize("said", [False, None])
def test_a_clock_that_is_ahead_ends_no_withdrawal(
    overrides: Overrides,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: bool | None,
) -> None:
    """After a reboot, until somebody sets it right: no robot announces, nor removes the order."""
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(timekeeping, "synchronised", lambda: said)
    overrides.set(V4, Override(Order.WITHDRAW, "x", "alice", left=up + 60))
    overrides.set(V6, Override(Order.ANNOUNCE, "x", "alice", left=60))
    given = time.time() - 2 * DAY - up
    for prefix in (V4, V6):
        end = given + 60 + (up if prefix is V4 else 0)
        change(tmp_path, prefix, boot="before", since=given, until=end)
    overrides.tidy([V4, V6])
    found = overrides.standing(V4)
    assert found is not None
    assert found.left == pytest.approx(60, abs=5)  # as if given at the boot
    assert overrides.standing(V6) is None
    for prefix in (V4, V6):
        assert json.loads(file(tmp_path, prefix).read_text())["boot"] == "before"
    monkeypatch.setattr(timekeeping, "synchronised", lambda: True)
    assert overrides.standing(V4) is None
    overrides.tidy([V4, V6])
    assert not file(tmp_path).exists()
    assert not file(tmp_path, V6).exists()


def test_the_kernel_s_word() -> None:
    """It is asked for real, and says one or the other."""
    code = "from pgcast_hooks.timekeeping import synchronised; print(synchronised())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() in ("True", "False")


DAMAGE = (
    b"",
    b"{",
    b"[1]",
    b"\xff\xfe",
    b"null",
    b'{"order": "announce"}',
    b"[" * 100_000,
)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["override-192.0.2.10_32", "override-host"])
def test_damage_holds(
    overrides: Overrides, tmp_path: Path, damage: bytes, name: str
) -> None:
    """What it said is not known: it announces nothing, is reported, and is kept."""
    (tmp_path / name).write_bytes(damage)
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.HOLD
    assert overrides.trouble == f"override {tmp_path / name} is damaged"
    prefix = V4 if name != "override-host" else None
    overrides.set(prefix, Override(Order.WITHDRAW, "x", "alice"))
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.WITHDRAW
    (kept,) = tmp_path.glob("*.damaged-*")
    assert kept.read_bytes() == damage


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("order", "hold"),
        ("order", "word of tomorrow"),
        ("version", 2),
        ("until", None),
        ("until", "soon"),
        ("since", None),
        ("since", 10**400),
        ("since", 1e300),
        ("since", -1.0),
        ("since", float("nan")),
        ("until", 1e300),
        ("until", float("inf")),
        ("boot_until", 1e300),
        ("boot_until", float("nan")),
        ("boot_until", None),
    ],
)
def test_values_that_make_no_sense_hold(
    overrides: Overrides, tmp_path: Path, key: str, value: Any
) -> None:
    """Of a version to come, or an announcement without an end: ended only by somebody."""
    overrides.set(V4, Override(Order.ANNOUNCE, "x", "alice", left=60))
    change(tmp_path, **{key: value})
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.HOLD
    ended = overrides.end(V4)
    assert ended is not None
    assert ended.order is Order.HOLD
    assert overrides.standing(V4) is None


def test_damage_hides_no_order_to_withdraw(
    overrides: Overrides, tmp_path: Path
) -> None:
    """Of the host's maintenance; but an order to announce waits for it."""
    (tmp_path / "override-host").write_text("")
    overrides.set(V4, Override(Order.WITHDRAW, "x", "alice"))
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.WITHDRAW
    overrides.set(V4, Override(Order.ANNOUNCE, "x", "alice", left=60))
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.HOLD
    assert "until 'pgcast maintenance off'" in found.reason
    overrides.end(None)
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.ANNOUNCE


def test_what_is_over_is_removed(overrides: Overrides, tmp_path: Path) -> None:
    """By whoever makes a pass; what stands, stands."""
    overrides.set(V4, Override(Order.WITHDRAW, "x", "alice", left=60))
    overrides.set(V6, Override(Order.WITHDRAW, "x", "alice"))
    overrides.tidy([V4, V6])
    assert overrides.of(V4)
    assert overrides.of(V6)
    change(tmp_path, boot_until=time.clock_gettime(time.CLOCK_BOOTTIME) - 1)
    overrides.tidy([V4, V6])
    assert not file(tmp_path).exists()
    assert overrides.of(V6)


@pytest.mark.parametrize("order", [Order.WITHDRAW, Order.ANNOUNCE])
def test_behind_after_a_reboot_an_order_still_expires(
    overrides: Overrides, tmp_path: Path, order: Order
) -> None:
    """It counts by the boot's own clock from the first pass on; and one that may announce
    again, once the clock is right, is not removed."""
    overrides.set(V4, Override(order, "x", "alice", left=60))
    now = time.time()
    change(tmp_path, boot="before", since=now + DAY, until=now + DAY + 60)
    overrides.tidy([V4])
    document = json.loads(file(tmp_path).read_text())
    if order is Order.ANNOUNCE:
        assert document["boot"] == "before"
        return
    assert document["boot"] == record.boot()
    assert document["since"] == pytest.approx(now + DAY, abs=1)
    assert document["until"] == pytest.approx(now + DAY + 60, abs=1)
    ends = document["boot_until"] - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert 50 < ends <= 60


def test_a_lock_that_is_never_freed_stops_no_operator(
    overrides: Overrides, tmp_path: Path
) -> None:
    """Whoever holds it may be stopped; tidying gives way at once."""
    with (tmp_path / "override-lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        overrides.set(V4, Override(Order.WITHDRAW, "x", "alice", left=60))
        change(tmp_path, boot_until=0)
        overrides.tidy([V4])
        assert file(tmp_path).exists()
        overrides.end(V4)
    assert not file(tmp_path).exists()


def test_any_byte_of_a_command_line_can_be_printed(overrides: Overrides) -> None:
    """A reason may be typed in another encoding."""
    overrides.set(V4, Override(Order.WITHDRAW, "caf\udce9", "alice"))
    found = overrides.of(V4)
    assert found is not None
    assert found.reason == "caf?"


def test_no_directory_no_order(tmp_path: Path) -> None:
    """Nothing is known of any; an order that cannot be written down is an error."""
    overrides = Overrides(str(tmp_path / "missing"))
    assert overrides.standing(V4) is None
    with pytest.raises(
        OverrideNotKept, match="No such file or directory; see state_dir"
    ):
        overrides.set(V4, Override(Order.WITHDRAW, "x", "alice"))


def test_a_link_is_not_followed(overrides: Overrides, tmp_path: Path) -> None:
    """Nor is it an order."""
    target = tmp_path / "elsewhere"
    target.write_text("{}")
    file(tmp_path).symlink_to(target)
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.HOLD
    overrides.set(V4, Override(Order.WITHDRAW, "x", "alice"))
    assert target.read_text() == "{}"


KILLED = """
import ipaddress, os, sys
from pgcast_hooks.model import Order, Override
from pgcast_hooks.override import Overrides
rename, left = os.rename, int(sys.argv[2])
def killed(*names):
    global left
    if left:
        rename(*names)
        left -= 1
    if not left:
        os._exit(9)
os.rename = killed
Overrides(sys.argv[1]).set(ipaddress.ip_network("192.0.2.10/32"), Override(Order.WITHDRAW, "x", "a"))
"""


@pytest.mark.parametrize(("renames", "order"), [(0, Order.HOLD), (1, Order.WITHDRAW)])
def test_a_damaged_order_is_replaced_at_once_or_not_at_all(
    overrides: Overrides, tmp_path: Path, renames: int, order: Order
) -> None:
    """Whoever is killed in between leaves the one or the other, and the next one goes on."""
    file(tmp_path).write_text("{")
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(renames)]
    assert subprocess.run(arguments, cwd=ROOT).returncode == 9
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is order
    overrides.set(V4, Override(Order.WITHDRAW, "y", "alice"))
    found = overrides.standing(V4)
    assert found is not None
    assert (found.order, found.reason) == (Order.WITHDRAW, "y")
    assert any(path.read_text() == "{" for path in tmp_path.glob("*.damaged-*"))


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_whatever_stands_in_an_order_s_place_is_kept_aside(
    overrides: Overrides, tmp_path: Path, kind: str
) -> None:
    """It is no plain file, and no order."""
    if kind == "directory":
        file(tmp_path).mkdir()
    else:
        file(tmp_path).symlink_to("elsewhere")
    overrides.set(V4, Override(Order.WITHDRAW, "x", "alice"))
    found = overrides.standing(V4)
    assert found is not None
    assert found.order is Order.WITHDRAW
    (kept,) = tmp_path.glob("*.damaged-*")
    assert kept.is_dir() if kind == "directory" else kept.is_symlink()


WRITER = """
import ipaddress, sys
from pgcast_hooks.model import Order, Override
from pgcast_hooks.override import Overrides
overrides = Overrides(sys.argv[1])
print("ready", flush=True)
while True:
    overrides.set(ipaddress.ip_network("192.0.2.10/32"), Override(Order.WITHDRAW, sys.argv[2] * 400, "a"))
"""


def test_writers_that_are_killed_leave_a_whole_order(
    overrides: Overrides, tmp_path: Path
) -> None:
    """Two at once, killed at any moment: one's order or the other's, never half of one."""
    for _ in range(10):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), letter],
                stdout=subprocess.PIPE,
                cwd=Path(record.__file__).parents[1],
            )
            for letter in "xy"
        ]
        for writer in writers:
            assert writer.stdout
            writer.stdout.readline()
        until(lambda: overrides.standing(V4), "an order")
        for _ in range(100):
            found = overrides.standing(V4)
            assert found is not None
            assert found.reason in ("x" * 400, "y" * 400), found
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.communicate()
        found = overrides.standing(V4)
        assert found is not None
        assert found.reason in ("x" * 400, "y" * 400)
