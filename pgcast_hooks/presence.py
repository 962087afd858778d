"""Whether somebody reads ExaBGP's pipe, noticed at once and without asking anything.

While the pipe is held open for writing, poll(2) reports an error the moment its last reader
is gone; that is how a restart of ExaBGP, which forgets every route, is seen however short it
is. Nothing is ever written here.
"""

from __future__ import annotations

import contextlib
import os
import select
import time

RETRY = 0.02  # seconds between two looks for a reader that is gone


class Presence:
    """Watches `.in`; `stop` is a file descriptor that becomes readable when it is over."""

    def __init__(self, path: str, stop: int) -> None:
        self._path = path
        self._stop = stop
        self._held: int | None = None

    def wait(self, seconds: float) -> bool:
        """Wait, but not longer than until a reader appears, or until it is over; whether
        that was so."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return False
            if self._held is None:
                if self._hold() or self._over(min(RETRY, left)):
                    return True
            elif self._over(left):
                return True
            elif self._lost():
                os.close(self._held)
                self._held = None

    def over(self) -> bool:
        """Whether it is over."""
        return self._over(0)

    def _hold(self) -> bool:
        """Open the pipe, which only works while somebody reads it."""
        with contextlib.suppress(OSError):
            self._held = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return self._held is not None

    def _over(self, seconds: float) -> bool:
        """Wait for the end, or for the reader to go."""
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        if self._held is not None:
            poll.register(self._held, 0)
        return any(file == self._stop for file, _ in poll.poll(seconds * 1000))

    def _lost(self) -> bool:
        """Whether the reader is gone, or the pipe is another one by now."""
        assert self._held is not None
        poll = select.poll()
        poll.register(self._held, 0)
        if poll.poll(0):
            return True
        try:
            return not os.path.samestat(os.fstat(self._held), os.stat(self._path))
        except OSError:
            return True
