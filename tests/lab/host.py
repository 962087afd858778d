"""One machine, made of namespaces: own network, mounts, name, IPC and processes.

It exists so that a power cut is one kill: everything that runs on a host is a child of its init
in its pid namespace. The init is tini, because Patroni waits for ever on a postmaster that
nobody reaps. A host dies with the lab's process (PDEATHSIG), even when that is killed with
SIGKILL; hosts must therefore be brought up from the main thread, which lives as long as the lab.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CLONE_NEWNET = 0x40000000
# Die with the parent thread; survives exec, so that what follows it is bound as well.
BOUND = ["setpriv", "--pdeathsig", "KILL"]
# What each host has for itself, empty at boot. /etc starts as a copy of the machine's.
TMPFS = ("/run", "/opt", "/var/lib", "/dev/shm")
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab, not the thing under test, does not do what it should."""


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of a host, by its pid as the machine sees it."""

    pid: int
    command: str


class Host:
    """A machine that can be switched on, used, and switched off without a goodbye."""

    def __init__(self, name: str, files: Mapping[str, Path | str]) -> None:
        """`files`: path on the host → text of a file, or a directory to mount there."""
        self.name = name
        self.files = dict(files)
        self.boots = 0
        self._unshare: subprocess.Popen[str] | None = None
        self._init: int | None = None
        self._started: list[subprocess.Popen[str]] = []

    # Power

    @property
    def running(self) -> bool:
        return self._unshare is not None and self._unshare.poll() is None

    @property
    def pid(self) -> int:
        """The pid of the host's init, as the machine sees it."""
        if self._init is None or not self.running:
            raise LabError(f"host {self.name} is off")
        return self._init

    def up(self) -> None:
        """Switch on; return when the mounts stand and the init runs."""
        if self.running:
            raise LabError(f"host {self.name} is on already")
        self.boots += 1
        namespaces = ["--net", "--mount", "--uts", "--ipc", "--pid"]
        self._unshare = subprocess.Popen(
            [*BOUND, "unshare", *namespaces, "--fork", "--kill-child", "--mount-proc"]
            + ["--propagation", "private", "sh", "-euc", self._boot_script()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare 2.38 complains when its child is killed
            env={"PATH": PATH},
            start_new_session=True,
            text=True,
        )
        assert self._unshare.stdout is not None
        said = self._unshare.stdout.readline()
        if said != "up\n":
            said += self._unshare.communicate()[0]
            raise LabError(f"host {self.name} did not boot: {said.strip()}")
        self._init = child_of(self._unshare.pid)

    def kill_init(self) -> None:
        """Kill everything that runs here, at once and with nothing said on the network that is
        still connected (see Network.cut); wait until it is gone."""
        if self._unshare is not None:
            if self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            # nsenter stops when its command is stopped, and must go on to reap it.
            for process in self._started:
                process.send_signal(signal.SIGCONT)
            self._started.clear()
            self._unshare.wait(10)
            if self._unshare.stdout is not None:
                self._unshare.stdout.close()
        self._unshare = self._init = None

    def _boot_script(self) -> str:
        lines = [
            "exec 2>&1",
            f"echo {self.name} > /proc/sys/kernel/hostname",
            # Other pids than before a power cut: PostgreSQL takes a foreign process with the
            # pid of its stale postmaster.pid for a living postmaster.
            f"echo {self.boots * 1000} > /proc/sys/kernel/ns_last_pid 2>/dev/null || true",
            "mount -t tmpfs -o mode=755 etc /mnt && cp -a /etc/. /mnt/ && mount --move /mnt /etc",
        ]
        for target in TMPFS:
            mode = "1777" if target == "/dev/shm" else "755"
            lines.append(f"mount -t tmpfs -o mode={mode} tmpfs {target}")
        lines.append(f"echo {self.name} > /etc/hostname")
        for target, source in self.files.items():
            if isinstance(source, Path):
                lines.append(f"mkdir -p {target}")
                lines.append(f"mount --bind {shlex.quote(str(source))} {target}")
            else:
                lines.append(f"mkdir -p {os.path.dirname(target)}")
                lines.append(f"printf %s {shlex.quote(source)} > {target}")
        lines += ["echo up", "exec tini -- sleep infinity >/dev/null 2>&1"]
        return "\n".join(lines)

    # Commands

    def enter(self, user: str | None = None) -> list[str]:
        """The words to put before a command so that it runs on this host."""
        words = [
            "nsenter",
            "--target",
            str(self.pid),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
        ]
        if user is not None:
            words += ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]
        return words

    def run(
        self,
        argv: Sequence[str],
        user: str | None = None,
        check: bool = True,
        timeout: float = 30,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. With `check`, a failure carries what the command said."""
        done = subprocess.run(
            [*self.enter(user), *argv],
            env=environment(user, env),
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise LabError(
                f"{self.name}: {shlex.join(argv)}: exit code {done.returncode}: {said}"
            )
        return done

    def popen(
        self,
        argv: Sequence[str],
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[Any] = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start a command. The object is nsenter's; `child_of(it.pid)` is the command's own pid."""
        process = subprocess.Popen(
            [*BOUND, *self.enter(user), *argv],
            env=environment(user, env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self._started = [p for p in self._started if p.poll() is None] + [process]
        return process

    def in_network(self) -> list[str]:
        """Like `enter`, but only the network: files and pids stay the machine's."""
        return ["nsenter", "--target", str(self.pid), "--net"]

    def ip(self, *args: str, check: bool = True) -> str:
        """Run `ip ARGS` in this host's network; pids in ARGS are the machine's."""
        argv = [*self.in_network(), "ip", *args]
        done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": PATH})
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: ip {shlex.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def sysctl(self, **values: int) -> None:
        """Set network sysctls, given with `__` for a dot below net: ipv4__ip_forward=1."""
        pairs = [
            f"net.{key.replace('__', '.')}={value}" for key, value in values.items()
        ]
        subprocess.run(
            [*self.in_network(), "sysctl", "-q", *pairs], check=True, env={"PATH": PATH}
        )

    # Processes

    def processes(self, pattern: str = "") -> list[Process]:
        """Those whose command line matches, without the init."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.pid:
                continue
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                    raw = Path(f"/proc/{entry}/cmdline").read_bytes()
                    command = raw.rstrip(b"\0").replace(b"\0", b" ").decode()
                    if command and re.search(pattern, command):
                        found.append(Process(int(entry), command))
        return found

    def kill(self, number: int, pattern: str) -> int:
        """Signal every process whose command line matches; how many there were."""
        count = 0
        for process in self.processes(pattern):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
                count += 1
        return count

    # Sockets

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """The calling thread's new sockets belong to this host. For short-lived threads only:
        a process started here would belong to the host's network, too."""
        with (
            open(f"/proc/{self.pid}/ns/net") as here,
            open("/proc/thread-self/ns/net") as old,
        ):
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(old.fileno())

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection made by this host."""
        with self.network():
            return socket.create_connection((address, port), timeout)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def environment(
    user: str | None, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A login's environment: nothing of the developer's shell reaches a host."""
    entry = pwd.getpwnam(user or "root")
    basics = {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
    }
    return {**basics, **(extra or {})}


def child_of(pid: int, timeout: float = 5) -> int:
    """The pid of the only child of a process, which may be about to fork."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            break
        if children:
            return int(children[0])
        time.sleep(0.002)
    raise LabError(f"process {pid} has no child")


def in_thread(function: Any, *args: Any) -> threading.Thread:
    """Start a daemon thread."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread
