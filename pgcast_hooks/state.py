"""What outlives a process: small files in the state directory, written in place.

`generation` holds a token that every callback and operator changes before it acts.
Whoever looked at Patroni before the token changed must look again. A token needs no
reading before it is written, so it can be changed without a lock.

`unread-marks` holds how many marks were written to ExaBGP's pipe whose answers nobody
is known to have read; it is written under the pipe's lock only.

Each file is one short record, overwritten in place: that needs no free space, and a
record that is torn by a crash reads as another token, or as some marks unread, both of
which only cost time. A state directory that cannot be used is reported by `trouble`,
never an exception: it must not keep a withdrawal from being written.
"""

from __future__ import annotations

import os

GENERATION = "generation"
UNREAD_MARKS = "unread-marks"
MANY_MARKS = 64  # a count beyond this is damage, not history
UNKNOWN_MARKS = (
    2  # what one killed exchange leaves behind, taken where the file cannot be read
)


class State:
    """The state directory of one host."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.trouble: str | None = None

    def generation(self) -> str:
        """The present token; any change means that somebody acted."""
        return self._read(GENERATION) or ""

    def raise_generation(self) -> None:
        """Tell whoever is looking at Patroni now to look again."""
        self._write(GENERATION, os.urandom(8).hex())

    def unread_marks(self) -> int:
        """How many marks' answers may still come out of the pipe."""
        record = self._read(UNREAD_MARKS)
        if record is None:
            return UNKNOWN_MARKS
        try:
            count = int(record)
        except ValueError:
            return UNKNOWN_MARKS
        return min(count, MANY_MARKS) if count >= 0 else UNKNOWN_MARKS

    def note_unread_marks(self, count: int) -> None:
        """Record `count`; cut off at what is plausible, so that a hung ExaBGP does not
        lengthen every exchange."""
        self._write(UNREAD_MARKS, f"{min(count, MANY_MARKS):<16}")

    def _read(self, name: str) -> str | None:
        try:
            with open(os.path.join(self._directory, name), "rb", buffering=0) as file:
                return file.read(16).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return "0"
        except OSError as error:
            self._note(name, error)
            return None

    def _write(self, name: str, record: str) -> None:
        path = os.path.join(self._directory, name)
        try:
            try:
                file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                file = self._create(path)
            try:
                os.pwrite(file, record.encode("ascii"), 0)
            finally:
                os.close(file)
        except OSError as error:
            self._note(name, error)

    def _create(self, path: str) -> int:
        """Make a file that belongs to the directory's owner, so that root's first run
        does not lock the others out."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o660)
        if os.geteuid() == 0:
            owner = os.stat(self._directory)
            os.fchown(file, owner.st_uid, owner.st_gid)
        return file

    def _note(self, name: str, error: OSError) -> None:
        self.trouble = f"state file {os.path.join(self._directory, name)} cannot be used: {error.strerror}"
