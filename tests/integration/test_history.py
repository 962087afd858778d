"""`pgcast history` as a process: whole output and exit code, and what the history survives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import IO, Any

import pytest

from pgcast_hooks import eventline as module
from pgcast_hooks.history import History
from pgcast_hooks.model import Event
from tests.integration.pgcast import Pgcast

NIGHT = 1_637_723_565.123  # 2021-11-24T03:12:45.123Z
STOP = Event(
    cause="callback",
    trigger="on_stop primary main",
    scope="main",
    prefix=ip_network("192.0.2.10/32"),
    want="withdraw route 192.0.2.10/32",
    have=None,
    observation=None,
    result="changed",
    error=None,
    milliseconds=51.4,
)
REPAIR = STOP._replace(
    cause="reconcile",
    trigger="pgcast reconcile --interval 2",
    want="announce route 192.0.2.10/32 next-hop self med 99993",
    have="192.0.2.10/32 is withdrawn, must be announced",
    observation="primary on timeline 7",
    milliseconds=9.0,
)
REFUSAL = STOP._replace(
    cause="operator",
    trigger="pgcast announce billing\x1b[2J",
    scope="billing",
    prefix=ip_network("2001:db8::10/128"),
    want=None,
    observation="Patroni says role replica, state running (HTTP 503)",
    result="refused",
    milliseconds=1031.0,
)
FAILURE = STOP._replace(
    result="failed",
    error="ExaBGP is not reading /run/exabgp/exabgp.in: is it running?",
)
LINES = [
    "2021-11-24 03:12:45.123  callback   main  192.0.2.10/32  changed: withdraw"
    " (on_stop primary main, postgres, 51 ms)",
    "2021-11-24 03:13:45.123  reconcile  main  192.0.2.10/32  changed: announce next-hop self med 99993;"
    " is withdrawn, must be announced; primary on timeline 7 (pgcast reconcile --interval 2, postgres, 9 ms)",
    "2021-11-24 03:14:45.123  operator   billing  2001:db8::10/128  refused: Patroni says role replica,"
    " state running (HTTP 503) (pgcast announce billing?[2J, postgres, 1031 ms)",
    "2021-11-24 03:15:45.123  callback   main  192.0.2.10/32  failed: withdraw; ExaBGP is not reading"
    " /run/exabgp/exabgp.in: is it running? (on_stop primary main, postgres, 51 ms)",
]


@pytest.fixture
def history(pgcast: Pgcast, monkeypatch: pytest.MonkeyPatch) -> History:
    """Four events, a minute after each other, in a place whose time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    found = History(str(pgcast.state))
    monkeypatch.setattr(module, "user", lambda: "postgres")
    for minute, event in enumerate((STOP, REPAIR, REFUSAL, FAILURE)):
        monkeypatch.setattr(module, "now", lambda minute=minute: NIGHT + 60 * minute)
        found.append([event])
    monkeypatch.undo()
    monkeypatch.setenv("TZ", "UTC")
    return found


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ([], [0, 1, 2, 3]),
        (["main"], [0, 1, 3]),
        (["main", "192.0.2.10/32"], [0, 1, 3]),
        (["billing", "2001:db8::10/128"], [2]),
        (["--since", "2021-11-24T03:13:45"], [1, 2, 3]),
        (["--since", "2021-11-24T04:14:00+01:00"], [2, 3]),
        (["--since", "2021-11-24T03:13:45.000Z"], [1, 2, 3]),
        (["--since", "2021-11-24 03:13:45.123"], [1, 2, 3]),
        (["-n", "2"], [2, 3]),
        (["--lines", "1", "main"], [3]),
        (["--lines", "0"], []),
    ],
)
def test_a_line_for_each_event(
    history: History, pgcast: Pgcast, arguments: list[str], lines: list[int]
) -> None:
    """Oldest first; what a scope, prefixes and times choose. A scope may be configured no more."""
    code, out, err = pgcast.run("history", *arguments)
    assert (code, err) == (0, "")
    assert out.splitlines() == [LINES[number] for number in lines]


def test_json_is_what_is_stored(history: History, pgcast: Pgcast) -> None:
    """Line for line."""
    stored = (pgcast.state / "history").read_text()
    assert pgcast.run("history", "--json") == (0, stored, "")
    last = stored.splitlines(True)[-1]
    assert pgcast.run("history", "--json", "-n", "1") == (0, last, "")


def test_times_are_local(
    history: History, pgcast: Pgcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everything else on the host; summer time and all."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    out = pgcast.run("history", "-n", "1")[1]
    assert out == LINES[3].replace("03:15", "04:15") + "\n"
    assert pgcast.run("history", "--since", "2021-11-24 04:15:45")[1] == out


def test_only_what_is_recent(history: History, pgcast: Pgcast) -> None:
    """A duration counts from now."""
    assert pgcast.run("history", "--since", "1h") == (0, "", "")
    history.append([STOP])
    for since in ("1h", "today"):
        code, out, _ = pgcast.run("history", "--since", since, "--json")
        assert (code, out.count("\n")) == (0, 1)


def test_before_anything_has_happened(pgcast: Pgcast) -> None:
    """No file is no error."""
    said = f"pgcast: nothing has happened yet: there is no {pgcast.state}/history\n"
    assert pgcast.run("history") == (0, "", said)


def test_damaged_lines_are_told_of(history: History, pgcast: Pgcast) -> None:
    """And cost no other."""
    path = pgcast.state / "history"
    first, *others = path.read_text().splitlines(True)
    path.write_text("".join([first, '{"version":1,"ti\n', *others, "\0\0\0"]))
    code, out, err = pgcast.run("history")
    assert (code, out.splitlines()) == (0, LINES)
    assert err == f"pgcast: 2 damaged lines of {path} are left out\n"


def test_a_history_of_somebody_else_s(
    history: History, pgcast: Pgcast, tmp_path: Path
) -> None:
    """One line that names the file and says what to do."""
    for directory in [tmp_path, *tmp_path.parents][:3]:
        directory.chmod(0o755)
    (pgcast.state / "history").chmod(0o600)
    process = pgcast.start("cli", "history", uid=65534)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (78, "")
    assert err == (
        f"pgcast: history file {pgcast.state}/history cannot be used: Permission denied;"
        " read it as the owner of the state directory, or as root\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mian"], 78, "scope 'mian' is not configured"),
        (["main", "192.0.2.1/32"], 2, "192.0.2.1/32 is not a route of scope main"),
        (
            ["--since", "30"],
            2,
            "'30' is neither a length of time (30m, 2h, 3d) nor a time",
        ),
        (["-n", "-1"], 2, "Invalid value for '-n'"),
    ],
)
def test_wrong_arguments(
    history: History, pgcast: Pgcast, arguments: list[str], code: int, said: str
) -> None:
    """A mistyped name is told, not taken for silence; with --follow too."""
    for more in ([], ["--follow"]):
        found, out, err = pgcast.run("history", *arguments, *more)
        assert (found, out) == (code, "")
        assert said in err


@contextmanager
def following(pgcast: Pgcast, *arguments: str) -> Iterator[tuple[Any, IO[str]]]:
    """`pgcast history --follow`, and what it prints."""
    process = pgcast.start("cli", "history", "--follow", *arguments)
    assert process.stdout
    try:
        yield process, process.stdout
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_follow(history: History, pgcast: Pgcast, number: signal.Signals) -> None:
    """What there is, then what happens, across rotations; ended by a signal it is no failure."""
    with following(pgcast, "main", "-n", "2") as (process, out):
        assert [out.readline(), out.readline()] == [f"{LINES[n]}\n" for n in (1, 3)]
        small = History(str(pgcast.state), limit=1000)
        for moved in range(12):
            small.append([STOP._replace(trigger=f"event {moved}"), REFUSAL])
            if moved % 3 == 0:
                assert out.readline().count(f"(event {moved}, root, 51 ms)") == 1
                continue
            assert f"(event {moved}, " in out.readline()
        assert (pgcast.state / "history.3").exists()
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.communicate() == ("", "")


def test_follow_what_does_not_exist_yet(pgcast: Pgcast) -> None:
    """It waits for the first event."""
    with following(pgcast, "--json") as (process, out):
        assert process.stderr.readline().startswith("pgcast: nothing has happened yet")
        History(str(pgcast.state)).append([STOP])
        assert json.loads(out.readline())["trigger"] == "on_stop primary main"
        process.terminate()
        assert process.wait(30) == 0


def test_follow_begins_with_the_last_ten(pgcast: Pgcast) -> None:
    """As tail does; all of them since a time that is named."""
    History(str(pgcast.state)).append(
        [STOP._replace(trigger=f"{number}") for number in range(30)]
    )
    for arguments, first in (([], 20), (["--since", "1h"], 0)):
        with following(pgcast, *arguments) as (_, out):
            assert f"({first}, " in out.readline()


def test_a_full_disk(pgcast: Pgcast) -> None:
    """The event is lost and that is told; what fits again begins on a line of its own."""
    options = ["-t", "tmpfs", "-o", "size=16k", "tmpfs", str(pgcast.state)]
    subprocess.run(["mount", *options], check=True)
    try:
        history = History(str(pgcast.state))
        kept = 0
        while not history.trouble:
            history.append([STOP._replace(trigger=f"{kept}")])
            kept += not history.trouble
        assert history.trouble == (
            f"history file {pgcast.state}/history cannot be used: No space left on device"
        )
        assert not (pgcast.state / "history").read_bytes().endswith(b"\n")  # torn
        assert [event["trigger"] for event in history.read()] == [
            f"{number}" for number in range(kept)
        ]
        assert history.counts() == {("callback", "changed"): kept}
        subprocess.run(
            ["mount", "-o", "remount,size=64k", str(pgcast.state)], check=True
        )
        history.append([STOP._replace(trigger="after")])
        assert history.trouble is None
        assert [event["trigger"] for event in history.read()][-2:] == [
            f"{kept - 1}",
            "after",
        ]
        assert history.skipped == 1
    finally:
        subprocess.run(["umount", str(pgcast.state)], check=True)


def test_a_terminal_that_cannot_show_it(history: History, pgcast: Pgcast) -> None:
    """A reason in letters that the terminal's encoding lacks is shown all the same."""
    history.append([STOP._replace(observation="Grund → Umzug")])
    env = {**os.environ, "PYTHONIOENCODING": "iso-8859-1"}
    process = pgcast.start("cli", "history", "-n", "1", env=env)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert r"Grund \u2192 " in out
