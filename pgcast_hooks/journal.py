"""A file of lines that many processes append to at once, rotated by size: NAME, NAME.1 (the
next older) ... NAME.4.

Knows lines and nothing of what they say. What it must survive: several processes that write
and rotate at once, one of them stopped or killed anywhere, and a full disk.

* Each append is one write(2) with O_APPEND, which the kernel keeps in one piece. The lock, a
  flock on the file itself, is for rotation and for the look at the end of the file; who
  cannot get it in a short time appends all the same. So a file that has just been rotated
  away may still grow by a line.
* A line that was torn, by a kill or a full disk, has no newline at its end: whoever finds the
  file so begins with one, and who has no lock to look under begins with one always. Readers
  pass over empty lines.
* Rotation only renames, from the oldest file to the newest, and begins at the lowest number
  that is free: one that was killed half-way is finished by the next, and costs no file.

Files only ever move to higher numbers, so whoever opens them from the lowest on meets each.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Callable

from pgcast_hooks import record

LIMIT = 1 << 20  # bytes; a file that has reached them is rotated
KEPT = 4  # old files
WAIT = 0.1  # seconds for the lock, whatever its holder does
RETRY = 0.005
CHUNK = 1 << 16
LONGEST = 1 << 20  # bytes; what is longer and without a newline is no line of ours


class Journal:
    """The files of one name in a directory. `full` is called, under the lock, before they
    are rotated."""

    def __init__(
        self,
        directory: str,
        name: str,
        limit: int = LIMIT,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._name = name
        self._limit = limit
        self._full = full
        self.path = os.path.join(directory, name)

    def append(self, text: bytes) -> None:
        """Append whole lines, and rotate before it where it is time.

        Raises OSError when not all was written; or when it was, but the files could not be
        rotated.
        """
        trouble: OSError | None = None
        rotated = False
        while True:
            file, locked = self._open()
            try:
                if (
                    not locked
                    or rotated
                    or trouble
                    or os.fstat(file).st_size < self._limit
                ):
                    _write(file, text, locked)
                    break
                try:
                    self._full()
                    self._rotate()
                    rotated = True
                except OSError as error:
                    trouble = error
            finally:
                os.close(file)
        if trouble:
            raise trouble

    def tails(self, trouble: Callable[[OSError], None]) -> list[Tail]:
        """Every file that can be opened, oldest first, each from its beginning; `trouble` is
        called for one that is there and cannot be."""
        found: list[Tail] = []
        for number in range(KEPT + 1):
            try:
                file = record.open_plain(
                    self._directory, _numbered(self._name, number), os.O_RDONLY
                )
            except FileNotFoundError:
                continue
            except OSError as error:
                trouble(error)
                continue
            tail = Tail(file)
            if any(tail.same(other) for other in found):
                tail.close()  # it was rotated between two openings
            else:
                found.insert(0, tail)
        return found

    def follow(self, trouble: Callable[[OSError], None]) -> Iterator[bytes | None]:
        """Every line that is there, and every one that will be; None each time that there
        is none for now. Ends only where it is closed.

        The file that was rotated away last is read on: somebody may have had it open.
        """
        tails = self.tails(trouble)
        try:
            while True:
                for tail in tails:
                    yield from tail.lines()
                yield None
                if not (tails and tails[-1].is_at(self.path)):
                    tails = _moved(tails, self.tails(trouble))
        finally:
            for tail in tails:
                tail.close()

    def _open(self) -> tuple[int, bool]:
        """The file, open for appending, and whether its lock was got."""
        deadline = time.monotonic() + WAIT
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        while True:
            over = time.monotonic() >= deadline
            try:
                file = record.open_plain(self._directory, self._name, flags)
            except PermissionError:
                if over:
                    raise
                time.sleep(RETRY)  # root may just be making it, and then gives it away
                continue
            try:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(file, self.path):
                        return file, True
                    fcntl.flock(file, fcntl.LOCK_UN)
                if over:
                    return file, False
            except BaseException:
                os.close(file)
                raise
            os.close(file)
            time.sleep(RETRY)

    def _rotate(self) -> None:
        """Move each file to the next number; the last one goes, if none is missing."""
        free = next(
            (number for number in range(1, KEPT) if not self._exists(number)), KEPT
        )
        for number in range(free, 0, -1):
            os.rename(
                _numbered(self.path, number - 1),
                _numbered(self.path, number),
            )

    def _exists(self, number: int) -> bool:
        return os.path.lexists(_numbered(self.path, number))


class Tail:
    """A file of lines, read to its end as often as that moves."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._partial = b""
        self.offset = 0  # of the first byte behind the last whole line

    def close(self) -> None:
        os.close(self._file)

    def lines(self, offset: int | None = None) -> Iterator[bytes]:
        """Every whole line from here on, or from a line's `offset`."""
        if offset is not None:
            self.offset, self._partial = offset, b""
        elif os.fstat(self._file).st_size < self.offset:
            self.offset, self._partial = 0, b""  # somebody emptied it
        while True:
            at = self.offset + len(self._partial)
            chunk = os.pread(self._file, CHUNK, at)
            if not chunk:
                return
            *whole, self._partial = (self._partial + chunk).split(b"\n")
            if len(self._partial) > LONGEST:
                whole, self._partial = [*whole, self._partial], b""
                self.offset -= 1  # it has no newline
            for line in whole:
                self.offset += len(line) + 1
                yield line

    def rest(self) -> bytes:
        """What stands behind the last newline: a line that was torn, or is being written."""
        return self._partial

    def mark(self) -> str | None:
        """What tells this file from any other, wherever it was moved; None for one that is
        too short to be told."""
        import binascii

        start = os.pread(self._file, 512, 0)
        return f"{binascii.crc32(start):08x}" if len(start) == 512 else None

    def same(self, other: Tail) -> bool:
        """Whether the two are one file."""
        return os.path.samestat(os.fstat(self._file), os.fstat(other._file))

    def is_at(self, path: str) -> bool:
        """Whether it is still the file of that name."""
        return _is_at(self._file, path)


def _moved(known: list[Tail], found: list[Tail]) -> list[Tail]:
    """What to read on when a new file may have been begun: the newest known, and all newer."""
    place = next(
        (n for n, tail in enumerate(found) if known and tail.same(known[-1])), -1
    )
    for tail in [*known[:-1], *found[: place + 1]]:
        tail.close()
    return known[-1:] + found[place + 1 :]


def _numbered(name: str, number: int) -> str:
    return f"{name}.{number}" if number else name


def _write(file: int, text: bytes, locked: bool) -> None:
    size = os.fstat(file).st_size
    if not locked or (size and os.pread(file, 1, size - 1) != b"\n"):
        text = b"\n" + text
    while text:
        text = text[os.write(file, text) :]


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
