"""One process, measured: how long it took, what it took of the processors, and its peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

# The peak of a process counts what it was before exec too; so it is started from one that is smaller than any
# that is measured. SIGTERM is handed on.
LAUNCHER = """
import json, os, signal, sys, time
null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
start = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
_, status, used = os.wait4(child, 0)
seconds = time.perf_counter() - start
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Measured(NamedTuple):
    """Seconds on the clock, seconds of processors, and MiB at most."""

    seconds: float
    processor: float
    peak: float


class Running:
    """A process that is being measured."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", LAUNCHER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )

    def terminate(self) -> None:
        """Tell it to end."""
        self._process.terminate()

    def measured(self) -> Measured:
        """Wait for its end, which must be a good one."""
        said, _ = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise subprocess.CalledProcessError(
                self._process.returncode, self._arguments
            )
        return Measured(*json.loads(said))


def measure(arguments: Sequence[str]) -> Measured:
    """Run a process to its end."""
    return Running(arguments).measured()
