"""What outlives a process: small files in the state directory, written in place.

`generation` holds a token that every callback and operator changes before it acts, and
everybody who announces, once the route stands. Whoever looked at Patroni before the token
changed must look again. A token needs no reading before it is written, so it can be
changed without a lock.

Several configurations, each of an ExaBGP of its own, may share the directory: what an
operator orders is the host's, and so are `generation` and what Patroni said. What is about
one ExaBGP has its pipe in its name, `unread-marks-%2Frun%2Fexabgp%2Fsecond`, unless that is
DEFAULT_PIPE: `unread-marks`, `reconciler` and `last-pass`.

`unread-marks` holds how many marks were written to ExaBGP's pipe whose answers nobody
is known to have read; it is written under the pipe's lock only.

`known-PATH-SCOPE` holds when Patroni's answer was last known, in seconds since the boot
that it names: a clock that is set back changes nothing, and a record of another boot says
nothing, as no route has outlived it.

`last-pass` holds how the reconciler's last pass went, for people and for monitoring.

Each file is one short record, overwritten in place: that needs no free space, and a
record that is torn by a crash reads as another token, or as some marks unread, both of
which only cost time. A state directory that cannot be used is reported by `trouble`,
never an exception: it must not keep a withdrawal from being written.
"""

from __future__ import annotations

import fcntl
import os
import time

from pgcast_hooks import record
from pgcast_hooks.errors import AlreadyRunning
from pgcast_hooks.model import LastPass

GENERATION = "generation"
DEFAULT_PIPE = "/run/exabgp/exabgp"
UNREAD_MARKS = "unread-marks"
RECONCILER = "reconciler"
LAST_PASS = "last-pass"
RECORD = 64  # bytes; no record is longer, but for the last pass's
GLANCE = 0.2  # seconds; far longer than the lock is held by who only looks at it
RETRY = 0.01
ROUNDING = 0.01  # seconds that a record may be ahead of the clock it was read from
LONGEST_NAME = 255  # bytes of a file's name
MANY_MARKS = 64  # a count beyond this is damage, not history
UNKNOWN_MARKS = (
    2  # what one killed exchange leaves behind, taken where the file cannot be read
)


class State:
    """The state directory of one host, as those use it who speak to the ExaBGP that reads
    `pipe`, a path without `.in` and `.out`."""

    def __init__(self, directory: str, pipe: str = DEFAULT_PIPE) -> None:
        self._directory = directory
        self._unread_marks = _of_pipe(UNREAD_MARKS, pipe)
        self._reconciler = _of_pipe(RECONCILER, pipe)
        self._last_pass = _of_pipe(LAST_PASS, pipe)
        self.trouble: str | None = None

    def generation(self) -> str:
        """The present token; any change means that somebody acted."""
        return self._read(GENERATION) or ""

    def raise_generation(self) -> None:
        """Tell whoever is looking at Patroni now to look again."""
        self._write(GENERATION, os.urandom(8).hex())

    def unread_marks(self) -> int:
        """How many marks' answers may still come out of the pipe.

        A count that could not have been written is none to rely on.
        """
        said = self._read(self._unread_marks)
        try:
            count = int(said if said is not None else UNKNOWN_MARKS)
        except ValueError:
            count = UNKNOWN_MARKS
        self.note_unread_marks(count)
        if self.trouble or count < 0:
            return max(count, UNKNOWN_MARKS)
        return min(count, MANY_MARKS)

    def note_unread_marks(self, count: int) -> None:
        """Record `count`; cut off at what is plausible, so that a hung ExaBGP does not
        lengthen every exchange."""
        self._write(self._unread_marks, f"{min(count, MANY_MARKS):<16}")

    def note_known(self, scope: str, asked: str) -> None:
        """Record that Patroni gave an answer that is known, just now; `asked` is the path."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._write(_known(scope, asked), f"{record.boot()} {now:<16.2f}")

    def since_known(self, scope: str, asked: str) -> float | None:
        """Seconds since Patroni's last known answer; None where there is none."""
        said = (self._read(_known(scope, asked)) or "").split()
        try:
            boot, then = said[0], float(said[1])
        except (IndexError, ValueError):
            return None
        since = time.clock_gettime(time.CLOCK_BOOTTIME) - then
        if boot != record.boot() or since < -ROUNDING:
            return None
        return max(0.0, since)

    def note_pass(self, done: LastPass) -> None:
        """Record how a pass went that ended `done.ago` seconds ago; of its trouble, what
        fits."""
        from pgcast_hooks import lastpass  # a withdrawal makes no pass

        try:
            text = lastpass.encode(done)
            record.overwrite_checked(self._directory, self._last_pass, text)
        except OSError as error:
            self._note(self._last_pass, error)

    def last_pass(self) -> LastPass | None:
        """The reconciler's last pass; None where there is none, or a damaged record."""
        from pgcast_hooks import lastpass

        try:
            size = lastpass.RECORD
            text = record.read_checked(self._directory, self._last_pass, size)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note(self._last_pass, error)
            return None
        return lastpass.decode(text or "")

    def claim_reconciler(self) -> None:
        """Be the only reconciler until this process ends, in whatever way it does.

        Raises AlreadyRunning.
        """
        try:
            file = record.open_plain(
                self._directory, self._reconciler, os.O_RDWR | os.O_CREAT
            )
        except OSError as error:
            self._note(self._reconciler, error)
            return
        end = time.monotonic() + GLANCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    os.close(file)
                    holder = self._read(self._reconciler) or ""
                    raise AlreadyRunning(self.reconciler_path, holder) from None
            time.sleep(RETRY)
        self._write(
            self._reconciler, f"{os.getpid():<16}"
        )  # the file stays open, and locked

    @property
    def reconciler_path(self) -> str:
        """The file whose lock the reconciler holds."""
        return os.path.join(self._directory, self._reconciler)

    def reconciler(self) -> str | None:
        """The process that is the reconciler now; None where there is none.

        A lock can only be asked about by taking it: this one is shared, and held for no longer
        than that takes.
        """
        try:
            file = record.open_plain(self._directory, self._reconciler, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note(self._reconciler, error)
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read(self._reconciler) or ""
        finally:
            os.close(file)
        return None

    def _read(self, name: str) -> str | None:
        try:
            return record.read(self._directory, name, RECORD).strip()
        except FileNotFoundError:
            return "0"
        except OSError as error:
            self._note(name, error)
            return None

    def _write(self, name: str, text: str) -> None:
        try:
            record.overwrite(self._directory, name, text)
        except OSError as error:
            self._note(name, error)

    def _note(self, name: str, error: OSError) -> None:
        self.trouble = f"state file {os.path.join(self._directory, name)} cannot be used: {error.strerror}"


def _of_pipe(name: str, pipe: str) -> str:
    """The name of a file that is about one ExaBGP, however its pipe is written."""
    real = os.path.realpath(pipe)
    if real == DEFAULT_PIPE:
        return name
    # What `quote` would do to a path's own letter; a withdrawal does not import it.
    return _short(f"{name}-{real.replace('%', '%25').replace('/', '%2F')}")


def _known(scope: str, asked: str) -> str:
    from urllib.parse import quote  # a withdrawal records no answer

    return _short(f"known-{quote(asked, safe='')}-{quote(scope, safe='')}")


def _short(name: str) -> str:
    """A name that a file can have; of one that is too long, the beginning and a digest."""
    if len(name) <= LONGEST_NAME:
        return name
    import hashlib

    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"
