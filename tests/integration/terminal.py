"""A terminal for a process that behaves differently on one."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess

from tests.integration.waiting import until


class Terminal:
    """A pseudo-terminal of 60 rows and 120 columns; `slave` is what the process is given."""

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        size = ["stty", "rows", "60", "cols", "120"]
        subprocess.run(size, stdin=self.slave, check=True)
        self._text = ""

    def given(self) -> None:
        """The process has it."""
        os.close(self.slave)

    def type(self, keys: str) -> None:
        """As a person does."""
        os.write(self._master, keys.encode())

    def wait(self, *phrases: str) -> str:
        """All that was said since the last time, once it has the phrases, in this order."""
        pattern = re.compile(".*".join(map(re.escape, phrases)), re.S)
        try:
            until(lambda: self._read() and pattern.search(self._text), str(phrases))
        except TimeoutError:
            raise AssertionError(f"{phrases} are not in {self._text!r}") from None
        text, self._text = self._text, ""
        return text

    def wait_end(self) -> str:
        """All that was said, once nobody has the other end."""
        until(lambda: not self._read(), "the end")
        return self._text

    def close(self) -> None:
        """Hang up."""
        os.close(self._master)

    def _read(self) -> bool:
        """Read what is there; False at the end."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end
            if select.select([self._master], [], [], 0.05)[0]:
                self._text += os.read(self._master, 65536).decode()
            return True
        return False
