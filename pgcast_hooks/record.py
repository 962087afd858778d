"""Plain files of the state directory, opened so that nobody who may write there can turn
one into another's.

Knows files and nothing of what is in them. What can fail raises OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

MODE = 0o660
LOOKS = 3


def read(directory: str, name: str, size: int) -> str:
    """The first `size` bytes of a file, as ASCII."""
    file = open_plain(directory, name, os.O_RDONLY)
    try:
        return os.read(file, size).decode("ascii", "replace")
    finally:
        os.close(file)


def overwrite(directory: str, name: str, text: str) -> None:
    """Write over the beginning of a file, in place: that needs no free space."""
    file = open_plain(directory, name, os.O_WRONLY | os.O_CREAT)
    try:
        os.pwrite(file, text.encode("ascii"), 0)
    finally:
        os.close(file)


def replace(directory: str, name: str, text: str, aside: str | None = None) -> None:
    """Put a whole new file in a file's place, or leave the old one: never half of either.

    `aside`: the name under which the old one is kept.
    """
    new = f"{name}.new-{os.getpid()}"
    path, target = os.path.join(directory, new), os.path.join(directory, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a process of that number that was killed
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = open_plain(directory, new, flags)
        try:
            content = text.encode("ascii")
            if os.write(file, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            os.fsync(file)
        finally:
            os.close(file)
        if aside is not None:
            _keep(target, os.path.join(directory, aside))
        os.rename(path, target)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    _sync(directory)


def _keep(path: str, aside: str) -> None:
    """Give a file a second name, for the first to be taken from it at once or not at all."""
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError:  # a directory, or another user's file
        os.rename(path, aside)


def remove(directory: str, name: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, name))
        _sync(directory)


def _sync(directory: str) -> None:
    """Let a new name outlive a power cut."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def boot() -> str:
    """A word for the present boot of this machine; clocks that count from it say nothing
    in another."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "unknown"


def read_checked(directory: str, name: str, size: int) -> str | None:
    """What `overwrite_checked` wrote; None where it is damaged.

    Read again where that may be another process's overwriting, which takes no lock.
    """
    for _ in range(LOOKS):
        said, _, text = read(directory, name, size).partition("\n")[0].partition(" ")
        if said == _check(text):
            return text
    return None


def overwrite_checked(directory: str, name: str, text: str) -> None:
    """Write one line in place, with a check by which damage is noticed."""
    overwrite(directory, name, f"{_check(text)} {text}\n")


def _check(text: str) -> str:
    import binascii

    return f"{binascii.crc32(text.encode('ascii', 'replace')):08x}"


def open_plain(directory: str, name: str, flags: int) -> int:
    """Open a file of the directory's own, whoever may have put what there.

    Root, whose first run must not lock Patroni's user out, gives it to the directory's
    owner; so it follows no link, and takes nothing but a plain file with one name.
    """
    path = os.path.join(directory, name)
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, MODE)
    try:
        found = os.fstat(file)
        # With no name it was replaced just now, and is whole all the same.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError(errno.EINVAL, "Not a plain file", path)
        if flags & os.O_CREAT and os.geteuid() == 0:
            owner = os.stat(directory)
            if found.st_uid != owner.st_uid:
                os.fchown(file, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(file)
        raise
    return file
