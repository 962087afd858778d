"""pgcast's own scripts, as processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.integration.exabgp import PIPE

COMMAND = (
    "import os, sys, pgcast_hooks.confirm, pgcast_hooks.reconcile, pgcast_hooks.status;"
    "from pgcast_hooks.{module} import main;"
    "os.setgid({uid}); os.setuid({uid});"  # once imported: the checkout may be root's alone
    "sys.exit(main())"
)


def kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    """SIGKILL at that moment of a process's life, unless it has ended before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.communicate()


class Pgcast:
    """The two scripts with a configuration of their own."""

    def __init__(self, directory: Path, patroni: str) -> None:
        self.state = directory / "state"
        self.state.mkdir()
        self.path = directory / "pgcast.yml"
        self.document: dict[str, Any] = {
            "exabgp": {"pipe": str(PIPE)},
            "callback": {"deadline": 1.0},
            "state_dir": str(self.state),
            "clusters": {
                "main": {
                    "patroni": {"url": patroni, "timeout": 0.4},
                    "routes": [{"prefix": "192.0.2.10/32", "role": "primary"}],
                }
            },
        }

    @property
    def routes(self) -> list[dict[str, Any]]:
        """The routes of the one cluster, to be changed by a test."""
        routes: list[dict[str, Any]] = self.document["clusters"]["main"]["routes"]
        return routes

    def start(
        self,
        module: str,
        *arguments: str,
        uid: int = 0,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start `pgcast` (module cli) or `pgcast-callback` (module callback)."""
        self.path.write_text(yaml.safe_dump(self.document))
        self.path.chmod(0o644)
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                COMMAND.format(module=module, uid=uid),
                "--config",
                str(self.path),
                *arguments,
            ],
            stdin=stdin,
            stdout=stdout,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )

    def callback(self, *arguments: str, uid: int = 0) -> tuple[int, str]:
        """One callback: exit code and what it said, which is one line or nothing."""
        process = self.start("callback", *arguments, uid=uid)
        out, err = process.communicate(timeout=60)
        assert out == ""
        assert err.count("\n") <= 1
        return process.returncode, err.strip()

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """One command: exit code, stdout, stderr."""
        process = self.start("cli", *arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def announce(self) -> None:
        """on_start primary, which must succeed."""
        code, said = self.callback("on_start", "primary", "main")
        assert code == 0, said

    def withdraw(self) -> tuple[int, str]:
        """on_stop primary: exit code and report."""
        code, said = self.callback("on_stop", "primary", "main")
        return code, said.partition(" main: ")[2]
