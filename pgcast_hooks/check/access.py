"""What a user may do with ExaBGP's pipe, the state directory and the programs: tried, not read
off mode bits, and judged.

Trying opens what is there and closes it again. Nothing is made, written, or waited for.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pgcast_hooks.check.finding import Finding, critical, ok, warning

# Half-written by a process that was killed, damaged, or the history's older files. Whole
# names: a scope, which is part of one, may look like the end of these.
ASIDE = re.compile(r"override-.*\.(new|damaged)-\d+|history\.\d+|\..*", re.DOTALL)
MISSING = "missing"
NOT_A_FIFO = "not a FIFO"
NO_READER = "no reader"
NOT_PLAIN = "not a plain file"

Tried = Mapping[str, Any]
"""What `try_all` found; of each object None where it can be used, else why not."""


def try_all(
    read: Iterable[str],
    pipe: str,
    directory: str | None,
    programs: Iterable[str],
    secret: Iterable[str] = (),
) -> dict[str, Any]:
    """Try everything as the user that this process is; `read`: what it must be able to read;
    `directory`: None where it must not be touched; `secret`: what only few should read.
    """
    return {
        "open": [path for path in secret if _is_open(path)],
        "read": {path: _tried(path, os.O_RDONLY) for path in read},
        "ends": {
            f"{pipe}.in": _end(f"{pipe}.in", os.O_WRONLY),
            f"{pipe}.out": _end(f"{pipe}.out", os.O_RDWR),
        },
        "enters": os.access(os.path.dirname(pipe) or "/", os.X_OK),
        "directory": _directory(directory) if directory else None,
        "files": _files(directory) if directory else {},
        "programs": {path: _program(path) for path in programs},
    }


def _end(path: str, mode: int) -> str | None:
    try:
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            return NOT_A_FIFO
    except OSError as error:
        return _why(error)
    why = _tried(path, mode)
    return NO_READER if why == os.strerror(errno.ENXIO) else why


def _tried(path: str, mode: int) -> str | None:
    try:
        flags = mode | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        os.close(os.open(path, flags))
    except OSError as error:
        return _why(error)
    return None


def _why(error: OSError) -> str:
    return MISSING if error.errno == errno.ENOENT else str(error.strerror)


def _directory(path: str) -> str | None:
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return os.strerror(errno.ENOTDIR)
        os.listdir(path)
    except OSError as error:
        return _why(error)
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return os.strerror(errno.EROFS)
    if not os.access(path, os.W_OK | os.X_OK):
        return os.strerror(errno.EACCES)
    return None


def _files(directory: str) -> dict[str, str]:
    """Those of the state directory that cannot be used; what was kept aside is no trouble."""
    found = {}
    try:
        names = [name for name in os.listdir(directory) if not ASIDE.fullmatch(name)]
    except OSError:
        return {}
    for name in names:
        path = os.path.join(directory, name)
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                found[path] = NOT_PLAIN
                continue
        except OSError as error:
            found[path] = _why(error)
            continue
        why = _tried(path, os.O_RDWR | os.O_NOFOLLOW)
        if why and why != MISSING:  # one that is gone meanwhile is none
            found[path] = why
    return found


def _is_open(path: str) -> bool:
    """Whether every user of this host may read a file, and enter each directory above it."""
    above = os.path.dirname(os.path.realpath(path))
    try:
        while os.stat(above).st_mode & stat.S_IXOTH:
            if above == "/":
                return bool(os.stat(path).st_mode & stat.S_IROTH)
            above = os.path.dirname(above)
    except OSError:
        pass  # whoever may read it cannot tell: then not all may
    return False


def _program(path: str) -> str | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "not a program"
    except OSError as error:
        return _why(error)
    return None if os.access(path, os.X_OK) else os.strerror(errno.EACCES)


def judge_pipe(tried: Mapping[str, Tried]) -> list[Finding]:
    """ExaBGP's pipe, as each user found it. What is wrong with an end hides what follows."""
    ends: Sequence[str] = next(
        (list(one["ends"]) for one in tried.values()), []
    )  # one order for all
    for path in ends:
        for user, one in tried.items():
            why = one["ends"][path]
            if why == MISSING:
                make = f"mkfifo -m 0660 {path}; systemctl restart exabgp"
                return [critical("pipe.present", path, "does not exist", make)]
            if why == NOT_A_FIFO:
                remove = f"rm {path}; mkfifo -m 0660 {path}; systemctl restart exabgp"
                return [critical("pipe.fifo", path, "is not a FIFO", remove)]
            if why and why != NO_READER:
                directory = os.path.dirname(path)
                cure = (
                    f"give {user}'s group read and write: chgrp, chmod 660"
                    if one["enters"]
                    else f"let {user}'s group into {directory}: chgrp, chmod 750"
                )
                text = f"cannot be used by {user}: {why}"
                return [critical("pipe.usable", path, text, cure)]
    for path in ends:
        if any(one["ends"][path] == NO_READER for one in tried.values()):
            advice = "systemctl restart exabgp, which reads only a pipe that was there before it"
            return [critical("pipe.reader", path, "nobody reads it", advice)]
    users = " and ".join(tried)
    return [ok("pipe.usable", path, f"can be used by {users}") for path in ends]


def judge_readable(tried: Mapping[str, Tried]) -> list[Finding]:
    """Whether who runs pgcast may read its configuration, and the files that it names."""
    for user, one in tried.items():
        for path, why in one["read"].items():
            if why:
                text = f"cannot be read by {user}: {why}"
                cure = f"let {user} read it: chgrp, chmod 640; ls -ld {path}"
                return [critical("config.readable", path, text, cure)]
    return []


def judge_secret(tried: Mapping[str, Tried]) -> list[Finding]:
    """Whether what holds a password, a header's value or a key is hidden from other users."""
    paths = dict.fromkeys(path for one in tried.values() for path in one["open"])
    text = "holds a secret and can be read by every user of this host"
    return [
        warning("config.secret", path, text, f"chmod o= {path}; ls -l {path}")
        for path in paths
    ]


def judge_state(
    directory: str, tried: Mapping[str, Tried], owner: str
) -> list[Finding]:
    """Whether who runs pgcast may use the state directory, and all that is in it."""
    make = f"install -d -o {owner} -g {owner} -m 0750 {directory}"
    for user, one in tried.items():
        why = one["directory"]
        if why:
            said = "does not exist" if why == MISSING else f"fails {user}: {why}"
            return [critical("state.usable", directory, said, make)]
        for path, why in one["files"].items():
            text = f"fails {user}: {why}"
            return [critical("state.usable", path, text, f"chown {owner}: {path}")]
    users = " and ".join(tried)
    return [ok("state.usable", directory, f"can be used by {users}")]


class Room(NamedTuple):
    """What a file system has left; `files` is None where it sets no bound to them."""

    bytes: int
    files: int | None


def room(directory: str) -> Room | None:
    """What is left for who is not root; None where it cannot be told."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    files = found.f_favail if found.f_files else None
    return Room(found.f_bavail * found.f_frsize, files)


def judge_space(directory: str, left: Room | None) -> list[Finding]:
    """Records are written in place, but history and a new record need room."""
    name = "state.space"
    if left and left.bytes == 0:
        text = "its file system is full: neither history nor a new override can be kept"
        return [warning(name, directory, text, f"make room: df -h {directory}")]
    if left and left.files == 0:
        text = "its file system takes no more files: no new override can be kept"
        return [warning(name, directory, text, f"remove files: df -i {directory}")]
    return []
