"""ExaBGP's named pipe: two FIFOs, `NAME.in` for commands and `NAME.out` for answers.

Knows files, locks, lines and deadlines, and nothing of routes. Three habits of FIFOs
shape it: opening `.in` for writing blocks for ever, or with O_NONBLOCK fails with
ENXIO, while nobody reads; `.out`, opened for reading only, is at its end whenever
ExaBGP, which opens it anew for each line, is not just writing, so it is opened for
both; and up to PIPE_BUF bytes written at once arrive in one piece, however many write.

The lock is a flock on `.out` itself: whoever can speak with this ExaBGP shares it,
whatever state directory they use, and the kernel frees it when its holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Callable, Protocol

from pgcast_hooks.errors import NoAnswer, PipeBusy, PipeMissing, PipeUnusable

RETRY = 0.005  # seconds between two tries of what only trying tells: a reader on .in, a free lock
PIPE_SIZE = (
    1 << 20
)  # what the kernel grants an unprivileged process; an Adj-RIB-Out of some thousand lines
DIRECTORIES = (
    "/run/exabgp",
    f"/run/{os.getuid()}",
    "/run",
    "/var/run/exabgp",
    "/var/run",
)


class Ledger(Protocol):
    """Keeps, across processes and reboots, how many marks have been written whose
    answers nobody read."""

    def unread_marks(self) -> int: ...

    def note_unread_marks(self, count: int) -> None: ...


def locate(base: str | None) -> str:
    """The pipe's path without `.in` and `.out`: the one configured, or the first that
    ExaBGP itself would find."""
    if base:
        return base
    name = (
        os.environ.get("exabgp.api.pipename")
        or os.environ.get("exabgp_api_pipename")
        or "exabgp"
    )
    for directory in DIRECTORIES:
        candidate = f"{directory}/{name}"
        if os.path.exists(f"{candidate}.in") and os.path.exists(f"{candidate}.out"):
            return candidate
    return f"{DIRECTORIES[0]}/{name}"


class Pipe:
    """The two FIFOs of one ExaBGP. `timeout` and `lock_timeout` are in seconds."""

    def __init__(
        self, base: str, ledger: Ledger, timeout: float, lock_timeout: float
    ) -> None:
        self.path = f"{base}.in"
        self._out = f"{base}.out"
        self._ledger = ledger
        self._timeout = timeout
        self._lock_timeout = lock_timeout

    @contextlib.contextmanager
    def locked(self) -> Iterator[Conversation]:
        """Hold the pipe for a conversation, which has `timeout` seconds from the moment
        that it is held.

        Raises PipeBusy, PipeMissing or PipeUnusable.
        """
        outgoing = self._acquire()
        try:
            yield Conversation(self.path, outgoing, self._ledger, self._timeout)
        finally:
            os.close(outgoing)  # frees the lock

    def shout(self, line: str, waited: float) -> None:
        """Write one line without the lock and without waiting for an answer.

        For a withdrawal that must not wait, after `waited` seconds for the lock.
        """
        deadline = time.monotonic() + max(RETRY, self._timeout - waited)
        _write(self.path, f"{line}\n".encode("ascii"), lambda: None, deadline)

    def _acquire(self) -> int:
        """Open `.out`, its lock taken."""
        start = time.monotonic()
        while True:
            outgoing = _open(self._out, os.O_RDWR)
            try:
                if _lock(outgoing, start + self._lock_timeout):
                    if _is_at(outgoing, self._out):
                        return outgoing
                elif time.monotonic() >= start + self._lock_timeout:
                    raise PipeBusy(self.path, time.monotonic() - start)
            except BaseException:
                os.close(outgoing)
                raise
            # The pipe was made anew while this process waited for the lock of the old one.
            os.close(outgoing)


class Conversation:
    """The pipe while its lock is held: `pgcast_hooks.exabgp.Channel`."""

    def __init__(
        self, path: str, outgoing: int, ledger: Ledger, timeout: float
    ) -> None:
        self.path = path
        self._outgoing = outgoing
        self._ledger = ledger
        self._timeout = timeout
        self._start = time.monotonic()
        self._deadline = self._start + timeout
        self._partial = b""
        self._lines: deque[str] = deque()
        with contextlib.suppress(OSError):
            fcntl.fcntl(outgoing, getattr(fcntl, "F_SETPIPE_SZ", 1031), PIPE_SIZE)

    def send(self, lines: Sequence[str], marks: int, check: Callable[[], None]) -> None:
        """Write lines in pieces of at most PIPE_BUF bytes, reading what is answered.

        `check` is called right before each write. Raises PipeMissing, PipeUnusable, what
        `check` raises, and NoAnswer when ExaBGP does not empty the pipe in time.
        """

        def before() -> None:
            self._drain()
            check()

        unread = self._ledger.unread_marks()
        # Before the first byte: this process may be killed behind it.
        self._ledger.note_unread_marks(unread + marks)
        written = False
        try:
            for piece in _pieces(lines):
                _write(self.path, piece, before, self._deadline)
                written = True
        finally:
            if not written:
                self._ledger.note_unread_marks(unread)

    def receive(self, wait: float | None = None) -> str | None:
        """The next line answered; None after `wait` seconds, or at the conversation's
        deadline, without one."""
        end = (
            self._deadline
            if wait is None
            else min(self._deadline, time.monotonic() + wait)
        )
        while not self._lines:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._outgoing], [], [], left)[0]:
                return None
            self._drain()
        return self._lines.popleft()

    def unread_marks(self) -> int:
        """How many marks were written whose answers nobody is known to have read."""
        return self._ledger.unread_marks()

    def settled(self) -> None:
        """Note that every mark's answer has been read."""
        self._ledger.note_unread_marks(0)

    def waited(self) -> float:
        """Seconds since the conversation began."""
        return time.monotonic() - self._start

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            *whole, self._partial = (
                self._partial + os.read(self._outgoing, PIPE_SIZE)
            ).split(b"\n")
            self._lines += (line.decode("ascii", "replace") for line in whole)


def _write(
    path: str, piece: bytes, before: Callable[[], None], deadline: float
) -> None:
    """Write a piece in one, as soon as somebody reads the FIFO and it has room."""
    start = time.monotonic()
    opened = False
    while True:
        try:
            incoming = _open(path, os.O_WRONLY)
            opened = True
            try:
                before()
                os.write(incoming, piece)
                return
            finally:
                os.close(incoming)
        except (PipeMissing, BlockingIOError, BrokenPipeError):
            if time.monotonic() >= deadline:
                if opened:
                    waited = time.monotonic() - start
                    raise NoAnswer(path, waited, taken=False) from None
                raise
        time.sleep(RETRY)


def _open(path: str, mode: int) -> int:
    try:
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            why = "is not a FIFO: remove it, make it with mkfifo and restart ExaBGP"
            raise PipeUnusable(path, why)
        return os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise PipeMissing(path) from error
        if error.errno == errno.ENOENT:
            incoming = f"{os.path.splitext(path)[0]}.in"
            absent = path if os.path.exists(incoming) else incoming
            raise PipeMissing(incoming, absent) from error
        directory = os.path.dirname(path)
        if os.access(directory, os.X_OK):
            cure = "give this user's group read and write (chgrp, chmod 660)"
        else:
            cure = f"let this user's group into {directory} (chgrp, chmod 750)"
        why = f"cannot be used: {error.strerror}; {cure}"
        raise PipeUnusable(path, why) from error


def _lock(file: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(RETRY)


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _pieces(lines: Sequence[str]) -> Iterator[bytes]:
    piece = b""
    for line in lines:
        encoded = f"{line}\n".encode("ascii")
        if len(piece) + len(encoded) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += encoded
    if piece:
        yield piece
