"""Which processes matter, out of /proc: Patroni's, and the reconciler that holds its lock.

Only reads. What another user's process hides is None, never an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from pgcast_hooks.check.user import Account, of

INTERPRETER = re.compile(r"(python|pypy)[\d.]*")
SCRIPTS = frozenset({"patroni", "patroni.py"})


class Process(NamedTuple):
    """A process of this host; `environment` is None where it may not be read."""

    pid: int
    account: Account
    argv: tuple[str, ...]
    directory: str | None
    environment: dict[str, str] | None


def patroni_arguments(argv: Sequence[str]) -> tuple[str, ...] | None:
    """What Patroni's command line gives to Patroni; None for another program's.

    Runs that only make or check a configuration are no Patroni.
    """
    words = list(argv)
    if words and INTERPRETER.fullmatch(os.path.basename(words[0])):
        del words[0]
        while words and words[0].startswith("-"):
            if words[0] == "-m" and words[1:2] == ["patroni"]:
                words = words[1:]
                break
            takes = words[0] in ("-W", "-X", "-m", "-c")
            del words[: 1 + takes]
    if not words or os.path.basename(words[0]) not in SCRIPTS:
        return None
    if any(
        word.startswith(("--generate", "--validate", "--version")) for word in words
    ):
        return None
    return tuple(words[1:])


def configuration_of(argv: Sequence[str]) -> str | None:
    """The configuration file, or directory, that Patroni's command line names."""
    named = [w for w in patroni_arguments(argv) or () if not w.startswith("-")]
    return named[0] if named else None


def patronis() -> list[Process]:
    """Every Patroni that runs on this host, and in its pid namespace."""
    found = []
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        argv = _words(f"/proc/{entry}/cmdline")
        if argv and patroni_arguments(argv) is not None:
            process = look(int(entry))
            if process:
                found.append(process)
    return found


def look(pid: int) -> Process | None:
    """A process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.rstrip("\n").split(":", 1) for line in file)
    except (OSError, ValueError):
        return None
    uid, gid = (int(fields[name].split()[1]) for name in ("Uid", "Gid"))
    groups = tuple(map(int, fields.get("Groups", "").split()))
    environment = _words(f"/proc/{pid}/environ")
    try:
        directory: str | None = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        directory = None
    return Process(
        pid,
        of(uid, gid, groups),
        tuple(_words(f"/proc/{pid}/cmdline") or ()),
        directory,
        (
            None
            if environment is None
            else dict(word.split("=", 1) for word in environment if "=" in word)
        ),
    )


def lock_holder(path: str) -> int | None:
    """The pid of whoever holds flock(2) on a file; None for nobody.

    Read out of /proc/locks, not tried: a lock that is tried for is held for a moment, and
    a reconciler that starts in it would give up. A line of it::

        1: FLOCK  ADVISORY  WRITE 29031 fe:00:2147651 0 EOF
    """
    try:
        file = os.stat(path)
        with open("/proc/locks") as table:
            lines = [line.split() for line in table]
        with open(path) as content:
            said = content.read(64).split()[:1]
    except (OSError, ValueError):
        return None
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    for words in lines:
        if len(words) < 6 or words[1] != "FLOCK":
            continue
        place, _, inode = words[5].rpartition(":")
        # btrfs shows another device than stat(2); then the pid in the file must agree.
        if inode == str(file.st_ino) and (place == device or words[4:5] == said):
            return int(words[4])
    return None


def interval_of(argv: Sequence[str]) -> float | None:
    """The `--interval` of a reconciler's command line, in seconds."""
    text = " ".join(argv)
    found = re.search(r"--interval[ =]([\d.]+)", text)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def _words(path: str) -> list[str] | None:
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError:
        return None
    return [os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")]
