"""The real ExaBGP, of each version that pgcast supports."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.integration.waiting import until

VERSIONS = ("4.2.21", "4.2.25", "5.0.15")
CACHE = Path(os.environ.get("PGCAST_LAB_CACHE", "/var/cache/pgcast"))
DIRECTORY = Path("/run/exabgp")
PIPE = DIRECTORY / "exabgp"
CONFIG = """
neighbor 10.9.0.2 {
    router-id 10.9.0.1;
    local-address 10.9.0.1;
    local-as 65001;
    peer-as 65000;
    hold-time 9;
    family { ipv4 unicast; ipv6 unicast; }
}
"""


def make_pipe(name: str = PIPE.name) -> None:
    """A new pair of FIFOs, as an operator's tmpfiles.d makes them."""
    DIRECTORY.mkdir(exist_ok=True)
    for end in (DIRECTORY / f"{name}.in", DIRECTORY / f"{name}.out"):
        end.unlink(missing_ok=True)
        os.mkfifo(end, 0o600)


class Exabgp:
    """An ExaBGP that runs; `settings` are environment variables, such as exabgp_api_ack=false,
    and `pipe` is the name of its pipe, for a second one on this host."""

    def __init__(
        self,
        version: str,
        directory: Path,
        config: str = CONFIG,
        pipe: str = PIPE.name,
        **settings: str,
    ) -> None:
        self.pipe = DIRECTORY / pipe
        self.version = version
        self._binary = CACHE / f"exabgp-{version}" / "bin" / "exabgp"
        self._config = directory / "exabgp.conf"
        self._log = directory / "exabgp.log"
        self._config.write_text(config)
        self._settings = settings

    def __enter__(self) -> Exabgp:
        make_pipe(self.pipe.name)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it reads its pipe."""
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "exabgp_daemon_user": "root",
            "exabgp_log_destination": str(self._log),
            "exabgp_log_level": "INFO",
            "exabgp_api_pipename": self.pipe.name,
            **self._settings,
        }
        self.process = subprocess.Popen(
            [str(self._binary), str(self._config)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.reads, f"ExaBGP {self.version} on its pipe")

    def stop(self) -> None:
        """End it, and wait until nobody reads the pipe.

        It drops a signal that comes while it handles another, such as a reload.
        """
        self.process.send_signal(signal.SIGCONT)
        for number in (*[signal.SIGTERM] * 4, signal.SIGKILL):
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break
        until(lambda: not self.reads(), "the end of ExaBGP's pipe helper")

    def reads(self) -> bool:
        """Whether somebody has the pipe open for reading."""
        with contextlib.suppress(OSError):
            os.close(os.open(f"{self.pipe}.in", os.O_WRONLY | os.O_NONBLOCK))
            return True
        return False

    def commands(self) -> int:
        """How many commands for a route it has carried out, as its log has it."""
        text = self._log.read_text()
        return len(re.findall(r"route (?:added to|removed from)", text))

    def write(self, *lines: str) -> None:
        """Write commands as a shell script does, without reading the answers."""
        descriptor = os.open(f"{self.pipe}.in", os.O_WRONLY)
        try:
            os.write(descriptor, "".join(f"{line}\n" for line in lines).encode())
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """ExaBGP hangs, its pipe helper lives."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Withdraw whatever a test announced, and read whatever it left in the pipe."""
        answers = os.open(f"{self.pipe}.out", os.O_RDWR | os.O_NONBLOCK)
        try:
            self.write("show adj-rib out extensive")
            lines = (line.split() for line in self._read(answers).splitlines())
            for words in lines:
                if "unicast" in words:
                    self.write(f"withdraw route {words[words.index('unicast') + 1]}")
            self._read(answers)
        finally:
            os.close(answers)

    @staticmethod
    def _read(descriptor: int, quiet: float = 0.15) -> str:
        text = b""
        end = time.monotonic() + 10
        while time.monotonic() < end and select.select([descriptor], [], [], quiet)[0]:
            text += os.read(descriptor, 1 << 16)
        return text.decode()
