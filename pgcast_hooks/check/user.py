"""Trying something as another user: the only way to know what that user may do.

Mode bits do not tell: groups, ACLs, mounts and security modules have their say, too. What is
tried runs in a child that has become the user for good, and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import time
from typing import Any, Callable, NamedTuple


class Account(NamedTuple):
    """A user with groups, as a process has them."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class CannotTry(Exception):
    """Nothing could be tried as that user; the text is why."""


def of(uid: int, gid: int | None = None, groups: tuple[int, ...] = ()) -> Account:
    """The account of a process; without a gid, the one that a login has."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, uid if gid is None else gid, groups)
    if gid is None:
        gid = entry.pw_gid
        groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return Account(entry.pw_name, uid, gid, groups)


def named(name: str) -> Account | None:
    """The account that a login of this name has."""
    try:
        return of(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return None


def current() -> Account:
    """The account of this process."""
    return of(os.geteuid(), os.getegid(), tuple(os.getgroups()))


def attempt(
    account: Account, function: Callable[[], dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """What a function returns that runs as the user; it must be one of JSON's.

    Raises CannotTry. Call it before threads are started: the child is a fork.
    """
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(account, function, writable)
    os.close(writable)
    try:
        said = _read(readable, time.monotonic() + seconds)
    finally:
        os.close(readable)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _reap(pid)
    if said is None:
        raise CannotTry(f"gave no answer within {seconds:.3g} s")
    document: dict[str, Any] = json.loads(said or b'{"cannot": "ended early"}')
    if "cannot" in document:
        raise CannotTry(str(document["cannot"]))
    found: dict[str, Any] = document["found"]
    return found


def _child(
    account: Account, function: Callable[[], dict[str, Any]], writable: int
) -> None:
    try:
        try:
            _become(account)
            said: dict[str, Any] = {"found": function()}
        except Exception as error:  # told to the parent, which has a place for it
            said = {"cannot": getattr(error, "strerror", None) or repr(error)}
        with open(writable, "w") as answer:
            json.dump(said, answer)
    finally:
        os._exit(0)


def _become(account: Account) -> None:
    if os.geteuid() == account.uid:
        return
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def _read(readable: int, deadline: float) -> bytes | None:
    said = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([readable], [], [], left)[0]:
            return None
        piece = os.read(readable, 1 << 16)
        if not piece:
            return said
        said += piece


def _reap(pid: int) -> None:
    """Not waited for: a child that hangs in the kernel hangs for good."""
    end = time.monotonic() + 0.2
    while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < end:
        select.select([], [], [], 0.005)
