"""ExaBGP that starts, that is told not to answer, that is not there, and what stands in for one that misbehaves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgcast_hooks.pipe import locate
from tests.integration.bird import Bird
from tests.integration.exabgp import DIRECTORY, PIPE, VERSIONS, Exabgp, make_pipe
from tests.integration.patroni import FakePatroni, body, says
from tests.integration.pgcast import Pgcast
from tests.integration.waiting import until

ANNOUNCED = {"192.0.2.10/32": 99_993}


WITHDREW = (0, "withdrew 192.0.2.10/32")


@pytest.mark.parametrize("version", VERSIONS)
def test_without_acknowledgements(
    version: str, tmp_path: Path, bird: Bird, pgcast: Pgcast
) -> None:
    """exabgp.api.ack=false: 4.2 says neither `done` nor `error`."""
    with Exabgp(version, tmp_path, exabgp_api_ack="false"):
        bird.wait_established()
        pgcast.announce()
        bird.wait_table(ANNOUNCED)
        assert pgcast.withdraw() == WITHDREW
        bird.wait_table({})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restart_of_exabgp_during_the_callback(
    version: str, tmp_path: Path, bird: Bird, pgcast: Pgcast
) -> None:
    """ExaBGP is started after Patroni at boot: the callback goes on trying as long as Patroni confirms."""
    make_pipe()
    pgcast.document["callback"]["deadline"] = 60
    pgcast.document["exabgp"]["timeout"] = 0.2
    process = pgcast.start("callback", "on_start", "primary", "main")
    until(lambda: (pgcast.state / "unread-marks").exists(), "a first try")
    with Exabgp(version, tmp_path):
        assert process.wait(60) == 0
        process.communicate()
        bird.wait_table(ANNOUNCED)
    bird.wait_table({})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_withdrawal_while_another_waits_for_exabgp(
    version: str, tmp_path: Path, bird: Bird, patroni: FakePatroni, pgcast: Pgcast
) -> None:
    """ExaBGP restarts: an announcement waits for it with the lock, before_stop cannot wait as long.

    Which of the two reaches ExaBGP first is chance; what stands in the end is not.
    """
    make_pipe()
    pgcast.document["exabgp"]["timeout"] = 10
    pgcast.document["callback"]["deadline"] = 3
    announcing = pgcast.start("callback", "on_role_change", "primary", "main")
    until(lambda: _held(f"{PIPE}.out"), "the lock")
    patroni.will_say([says(200, body(state="stopping"))])
    generation = (pgcast.state / "generation").read_text()
    stopping = pgcast.start("callback", "before_stop", "-", "main")
    until(
        lambda: (pgcast.state / "generation").read_text() != generation, "before_stop"
    )
    with Exabgp(version, tmp_path):
        for process in (announcing, stopping):
            process.communicate(timeout=60)
        assert announcing.returncode == 75
        bird.wait_established()
        bird.wait_table({})


def _held(path: str) -> bool:
    """Whether somebody holds the lock."""
    with open(path, "rb+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# From here on: what no real ExaBGP can be made to do. The FIFOs are real.


@pytest.fixture
def reader() -> Iterator[int]:
    """A pipe that somebody reads: its `.in`, opened as ExaBGP's helper opens it."""
    make_pipe()
    descriptor = os.open(f"{PIPE}.in", os.O_RDWR | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def test_nobody_reads(pgcast: Pgcast) -> None:
    """ExaBGP is not running: one line, the exit code for it, and nothing left behind."""
    make_pipe()
    code, said = pgcast.withdraw()
    assert code == 69
    assert said.startswith(
        f"ExaBGP is not reading {PIPE}.in: is it running, and was it started"
    )
    assert (pgcast.state / "unread-marks").read_text().strip() == "0"


def test_no_pipe(pgcast: Pgcast) -> None:
    """The one that is missing is named; where both are, the one that ExaBGP reads."""
    for there, absent in (("", ".in"), (".in", ".out"), (".out", ".in")):
        for name in (".in", ".out"):
            Path(f"{PIPE}{name}").unlink(missing_ok=True)
        if there:
            os.mkfifo(f"{PIPE}{there}")
        said = (
            f"ExaBGP is not reading {PIPE}.in: {PIPE}{absent} does not exist: make it (mkfifo)"
            " and restart ExaBGP"
        )
        assert pgcast.run("show") == (69, "", f"pgcast: {said}\n")
        if absent == ".in":  # else nobody reads it, which is as true
            assert pgcast.withdraw() == (69, said)


def test_a_reader_that_never_drains(reader: int, pgcast: Pgcast) -> None:
    """The pipe is full to the brim."""
    while True:
        try:
            os.write(reader, b"x" * 4096)
        except BlockingIOError:
            break
    code, said = pgcast.withdraw()
    assert code == 69
    assert f"ExaBGP does not empty {PIPE}.in: nothing written in 2.0 s" in said


def test_an_answer_cut_in_the_middle(reader: int, pgcast: Pgcast) -> None:
    """ExaBGP dies while it answers: half an answer is none."""
    process = pgcast.start("callback", "on_stop", "primary", "main")
    command = until(lambda: _read(reader), "the commands")
    assert b"withdraw route 192.0.2.10/32\n" in command
    out = os.open(f"{PIPE}.out", os.O_RDWR)
    os.write(
        out,
        b"Peer            AS        up/down state       |     #sent     #recvd\ndone\ndo",
    )
    os.close(out)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 69
    assert "did not answer them all" in said
    assert (pgcast.state / "unread-marks").read_text().strip() == "4"


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def test_the_lock_is_held_by_another(reader: int, pgcast: Pgcast) -> None:
    """A withdrawal is written all the same; an announcement is not."""
    pgcast.document["callback"]["deadline"] = 0.1
    with open(f"{PIPE}.out", "rb+", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, said = pgcast.withdraw()
        assert code == 75
        assert "the withdrawal was written all the same, unverified" in said
        assert os.read(reader, 65536) == b"withdraw route 192.0.2.10/32\n"
        code, said = pgcast.callback("on_start", "primary", "main")
        assert code == 75
        assert "no route was changed" in said
        assert _read(reader) == b""


def test_a_pipe_made_anew_while_waiting_for_its_lock(pgcast: Pgcast) -> None:
    """systemd makes /run/exabgp anew at each start: the lock of the old pipe is worth nothing."""
    make_pipe()
    pgcast.document["exabgp"]["lock_timeout"] = 10
    with open(f"{PIPE}.out", "rb+", buffering=0) as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        process = pgcast.start("callback", "on_stop", "primary", "main")
        until(lambda: _waits_for(process.pid, old.fileno()), "the callback at the lock")
        make_pipe()
        new = os.open(f"{PIPE}.in", os.O_RDWR | os.O_NONBLOCK)
    try:
        commands = until(lambda: _read(new), "the commands in the new pipe")
        assert b"withdraw route" in commands
        header = (
            b"Peer            AS        up/down state       |     #sent     #recvd\n"
        )
        answers = os.open(f"{PIPE}.out", os.O_RDWR)
        os.write(answers, (header + b"done\n") * 3 + b"done\n" * 2 + header + b"done\n")
        os.close(answers)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(new)


def _waits_for(pid: int, descriptor: int) -> bool:
    """Whether a process has the same FIFO open."""
    wanted = os.fstat(descriptor)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is closed by now
            found = entry.stat()
            if stat.S_ISFIFO(found.st_mode) and os.path.samestat(found, wanted):
                return True
    return False


def test_a_file_in_the_place_of_the_pipe(pgcast: Pgcast) -> None:
    """`echo command > exabgp.in` made a file before mkfifo could make a FIFO."""
    make_pipe()
    (DIRECTORY / "exabgp.in").unlink()
    (DIRECTORY / "exabgp.in").touch()
    code, said = pgcast.withdraw()
    assert code == 78
    assert f"{PIPE}.in is not a FIFO: remove it" in said


@pytest.mark.parametrize(
    ("directory", "fifo", "cure"),
    [
        (0o755, 0o600, "; give this user's group read and write (chgrp, chmod 660)"),
        (0o700, 0o666, f"; let this user's group into {DIRECTORY} (chgrp, chmod 750)"),
    ],
)
def test_a_pipe_that_this_user_cannot_use(
    reader: int, pgcast: Pgcast, tmp_path: Path, directory: int, fifo: int, cure: str
) -> None:
    """Patroni's user is not in the pipe's group: said with what to do."""
    for path in [tmp_path, *tmp_path.parents][:3]:
        path.chmod(0o755)
    DIRECTORY.chmod(directory)
    for end in ("in", "out"):
        os.chmod(f"{PIPE}.{end}", fifo)
    code, said = pgcast.callback("on_stop", "primary", "main", uid=65534)
    DIRECTORY.chmod(0o755)
    assert code == 78
    assert f"{PIPE}.in cannot be used: Permission denied{cure}" in said


def test_the_pipe_is_found_where_exabgp_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first directory that holds both FIFOs wins, under the name that ExaBGP's environment gives."""
    make_pipe()
    assert locate(None) == "/run/exabgp/exabgp"
    assert locate("/elsewhere/pipe") == "/elsewhere/pipe"
    monkeypatch.setenv("exabgp_api_pipename", "second")
    for end in ("in", "out"):
        os.mkfifo(f"/run/second.{end}")
    assert locate(None) == "/run/second"
