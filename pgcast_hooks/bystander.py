"""The host's hands for an exchange with ExaBGP that leaves no trace in the state directory.

Must not make a file: one that root makes would belong to root, where the directory does.
"""

from __future__ import annotations

import contextlib
import os

from pgcast_hooks import hands, record
from pgcast_hooks.pipe import Pipe, locate
from pgcast_hooks.settings import Config
from pgcast_hooks.state import MANY_MARKS, State


class _Bystander(State):
    """The state directory, for an exchange that leaves it as it is.

    The count of unread marks is kept where it is kept already: a file that root makes would
    belong to root, where the directory does.
    """

    def note_unread_marks(self, count: int) -> None:
        text = f"{min(count, MANY_MARKS):<16}"
        try:
            os.stat(self._directory)
            with contextlib.suppress(FileNotFoundError):
                file = record.open_plain(
                    self._directory, self._unread_marks, os.O_WRONLY
                )
                try:
                    os.pwrite(file, text.encode("ascii"), 0)
                finally:
                    os.close(file)
        except OSError as error:
            self._note(self._unread_marks, error)


def host(config: Config) -> hands.Host:
    """The host's hands, which leave no trace."""
    exabgp = config.exabgp
    base = locate(exabgp.pipe)
    state = _Bystander(config.state_dir, base)
    pipe = Pipe(base, state, exabgp.timeout, exabgp.lock_timeout)
    return hands.host(config)._replace(pipe=pipe, state=state)
