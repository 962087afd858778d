"""A file that others read at any moment: replaced as a whole, or left as it was.

Must not hold up whoever writes it: a disk that does not answer costs `LIMIT` seconds once,
and after that nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading

LIMIT = 1.0  # seconds; then the writing is left to itself
MODE = 0o644  # whatever the umask: node_exporter is another user


class Textfile:
    """The file at `path`; `trouble` tells why it is not up to date."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: threading.Thread | None = None
        self.trouble: str | None = None

    def put(self, content: bytes) -> None:
        """Replace what the file holds, unless the writing before has not come to its end."""
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(
                target=self._write, args=(content,), daemon=True
            )
            self._writer.start()
            self._writer.join(LIMIT)
        if self._writer.is_alive():
            self.trouble = (
                f"metrics are not written to {self._path}: its disk does not answer"
            )

    def _write(self, content: bytes) -> None:
        try:
            replace(self._path, content)
        except OSError as error:
            self.trouble = (
                f"metrics are not written to {self._path}: {error.strerror}:"
                f" can this user make files in {os.path.dirname(self._path) or '.'}?"
            )
        else:
            self.trouble = None


def replace(path: str, content: bytes) -> None:
    """Put a new file in the place of the one at `path`, which may be missing.

    Made beside it, under a name that node_exporter does not read and that the next writer
    makes anew if this one is killed. Raises OSError.
    """
    directory, name = os.path.split(path)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.EINVAL, "it is there and is not a plain file", path)
    made = os.path.join(directory, f".{name}.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(made)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(made, flags, 0o600), "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), MODE)
            os.fsync(file.fileno())
            if not os.path.samestat(os.fstat(file.fileno()), os.lstat(made)):
                raise OSError(errno.EBUSY, "another pgcast writes it too", path)
            os.rename(made, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(made)
            raise
