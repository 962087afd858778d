"""The history: many write at once, any of them may die, and what was acknowledged is read back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Callable

import pytest

from pgcast_hooks import eventline as module
from pgcast_hooks.account import Account
from pgcast_hooks.eventline import encode, stamp
from pgcast_hooks.history import History
from pgcast_hooks.journal import KEPT
from pgcast_hooks.model import Event
from tests.integration.waiting import until

PREFIX = ip_network("192.0.2.10/32")
COUNT = 200
ENDLESS = 2000  # for a writer that does not come so far
LIMIT = 400_000  # bytes of a file; five of them have room for all that can be written
LATEST = 0.01  # seconds of work, until it is killed or stopped: some 200 events
ROOT = Path(__file__).parents[2]
WRITER = """
import os
import signal
import sys
from ipaddress import ip_network
from pgcast_hooks.history import History
from pgcast_hooks.model import Event

directory, name, count, limit, fate, after = sys.argv[1:]
history = History(directory, int(limit))
signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), int(fate)))
for number in range(int(count)):
    done = f"{name} {number}"
    prefix = ip_network("192.0.2.10/32")
    history.append([Event("callback", done, "main", prefix, None, None, None, "changed", None, 1.0)])
    print(history.trouble or done, flush=True)
    if number == 0:
        signal.setitimer(signal.ITIMER_PROF, float(after))
"""


def event(trigger: str = "on_stop primary main", **changes: Any) -> Event:
    """A withdrawal; `changes` replace fields."""
    plain = Event(
        cause="callback",
        trigger=trigger,
        scope="main",
        prefix=PREFIX,
        want="withdraw route 192.0.2.10/32",
        have=None,
        observation=None,
        result="changed",
        error=None,
        milliseconds=51.04,
    )
    return plain._replace(**changes)


def triggers(history: History) -> list[str]:
    """What was read back, by the one field that tells events apart here."""
    found = [event["trigger"] for event in history.read()]
    assert history.trouble is None
    return found


def test_a_line_is_a_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys, their order and form: other programs read it."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(module, "now", lambda: 1_795_489_965.1231)
    monkeypatch.setattr(module, "user", lambda: "postgres")
    history = History(str(tmp_path))
    history.append([event()])
    assert (tmp_path / "history").read_text() == (
        '{"version":1,"time":"2026-11-24T03:12:45.123Z","user":"postgres","cause":"callback",'
        '"trigger":"on_stop primary main","scope":"main","prefix":"192.0.2.10/32",'
        '"want":"withdraw route 192.0.2.10/32","have":null,"observation":null,"result":"changed",'
        '"error":null,"milliseconds":51.0}\n'
    )
    assert list(history.read()) == [json.loads((tmp_path / "history").read_text())]


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "",
        'a "quote"',
        "back\\slash",
        "tab\t",
        "\x7f",
        "\x00",
        "ünd",
        "\udcff",
        0,
        51.0,
        1e300,
        None,
        True,
        ["list"],
    ],
)
def test_a_line_is_json(value: Any) -> None:
    """To the letter, though json is only asked where a text needs it."""
    told = {"key": value, "next": 1}
    assert encode(told) == json.dumps(told, separators=(",", ":"))


def test_an_ordinary_event_is_written_without_json(tmp_path: Path) -> None:
    """It would be a tenth of a bare interpreter's start, in each callback."""
    code = WRITER + "assert 'json' not in sys.modules"
    arguments = [str(tmp_path), "a", "1", "1000", "0", "0"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=ROOT)


def test_who_became_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sudo leaves the name of who typed the command."""
    history = History(str(tmp_path))
    for name in (None, "alice", "root"):
        monkeypatch.delenv("SUDO_USER", raising=False)
        if name:
            monkeypatch.setenv("SUDO_USER", name)
        history.append([event()])
    assert [said["user"] for said in history.read()] == ["root", "alice (root)", "root"]


def test_a_text_may_hold_anything_and_is_cut(tmp_path: Path) -> None:
    """A callback's arguments are bytes; what Patroni says may be long."""
    history = History(str(tmp_path))
    wild = 'a\n"\udcff\x1b[2J{}'
    history.append([event(wild, error="x" * 10_000)])
    history.append([event()])
    assert triggers(history) == [wild, "on_stop primary main"]
    assert (tmp_path / "history").read_bytes().count(b"\n") == 2
    assert len(next(history.read())["error"]) == 500


@pytest.mark.parametrize("torn", [b'{"version":1,"ti', b"\x00" * 100, b"[]", b"}{"])
def test_a_torn_line_takes_no_other_with_it(tmp_path: Path, torn: bytes) -> None:
    """It is left out, and counted as such; the next one begins on its own line."""
    history = History(str(tmp_path))
    history.append([event("before")])
    with open(tmp_path / "history", "ab") as file:
        file.write(torn)
    assert (triggers(history), history.skipped) == (["before"], 1)
    history.append([event("after")])
    assert (triggers(history), history.skipped) == (["before", "after"], 1)
    assert history.counts() == {("callback", "changed"): 2}
    assert history.last_all()["192.0.2.10/32"]["trigger"] == "after"


@pytest.mark.parametrize(
    "line",
    [
        {"version": 2},
        {"prefix": None},
        {"milliseconds": "soon"},
        {"time": 5},
    ],
)
def test_what_this_version_cannot_read_is_left_out(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    """A line of a later version, or of an editor, must not break those who read."""
    history = History(str(tmp_path))
    history.append([event()])
    (told,) = history.read()
    (tmp_path / "history").write_text(json.dumps({**told, **line}) + "\n")
    assert (list(history.read()), history.skipped) == ([], 1)


def test_rotation_keeps_old_files_and_all_counts(tmp_path: Path) -> None:
    """The oldest go, the counts stay."""
    history = History(str(tmp_path), limit=1000)
    for number in range(100):
        result = ("changed", "refused", "failed")[number % 3]
        history.append([event(f"{number}", result=result)])
        assert history.trouble is None
        assert sum(history.counts().values()) == number + 1
    files = {"history", *(f"history.{n}" for n in range(1, KEPT + 1))}
    assert {path.name for path in tmp_path.iterdir()} == {*files, "history-counts"}
    assert all(path.stat().st_size < 1500 for path in tmp_path.iterdir())
    found = triggers(history)
    assert found == [f"{number}" for number in range(100 - len(found), 100)]
    assert len(found) >= 4 * 3
    assert History(str(tmp_path)).counts() == {
        ("callback", "changed"): 34,
        ("callback", "refused"): 33,
        ("callback", "failed"): 33,
    }


@pytest.mark.parametrize("damage", [b"", b"\x00" * 80, b"garbage", None])
def test_damaged_counts_are_made_from_the_files(
    tmp_path: Path, damage: bytes | None
) -> None:
    """As many as there are still files of; and they are right again from then on."""
    history = History(str(tmp_path), limit=1000)
    for number in range(50):
        history.append([event(f"{number}")])
    if damage is None:
        (tmp_path / "history-counts").unlink()
    else:
        (tmp_path / "history-counts").write_bytes(damage)
    left = len(triggers(history))
    assert left < 50
    assert history.counts() == {("callback", "changed"): left}
    for number in range(50):
        history.append([event(f"{number}")])
    assert history.counts() == {("callback", "changed"): left + 50}


def test_a_rotation_that_was_killed_costs_no_file(tmp_path: Path) -> None:
    """The next one goes on where a number is missing."""
    history = History(str(tmp_path), limit=1000)
    while not (tmp_path / "history.4").exists():
        history.append([event()])
    (tmp_path / "history.4").unlink()
    (tmp_path / "history.3").rename(tmp_path / "history.4")
    (tmp_path / "history.2").rename(tmp_path / "history.3")  # killed here
    oldest = (tmp_path / "history.4").read_bytes()
    while not (tmp_path / "history.2").exists():
        history.append([event()])
    assert (tmp_path / "history.4").read_bytes() == oldest


def test_the_last_change_of_each_prefix(tmp_path: Path) -> None:
    """Of all files; a refusal is none."""
    history = History(str(tmp_path), limit=1000)
    other = ip_network("2001:db8::10/128")
    assert history.last(PREFIX) is None
    history.append([event("old", prefix=other)])
    for number in range(6):
        history.append([event(f"{number}")])
    history.append([event('"prefix":"2001:db8::10/128"', result="refused")])
    history.append([event("refused", result="refused", prefix=other)])
    assert (tmp_path / "history.1").exists()
    assert set(history.last_all()) == {"192.0.2.10/32", "2001:db8::10/128"}
    assert str(history.last(PREFIX)["trigger"]) == "5"  # type: ignore[index]
    assert str(history.last(other)["trigger"]) == "old"  # type: ignore[index]


WITHDRAW = "withdraw route 192.0.2.10/32"
ANNOUNCE = "announce route 192.0.2.10/32 next-hop self med 99993"
DONE: dict[str, Any] = {}
FAILED = {"result": "failed", "want": None}
ELSEWHERE: dict[str, Any] = {"prefix": ip_network("192.0.2.1/32")}


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ([], None),
        ([DONE], WITHDRAW),
        ([{"result": "unchanged"}], WITHDRAW),
        ([DONE, {"want": ANNOUNCE}], ANNOUNCE),
        ([DONE, {"cause": "reconcile", "want": ANNOUNCE, "have": "x"}], ANNOUNCE),
        ([{"result": "failed"}], None),
        ([DONE, FAILED], None),
        ([DONE, FAILED, DONE], WITHDRAW),
        ([DONE, {"result": "refused", "want": None}], WITHDRAW),
        ([DONE, {**FAILED, **ELSEWHERE}], WITHDRAW),
        ([{**DONE, **ELSEWHERE}], None),
        (
            [DONE, {"trigger": '"prefix":"192.0.2.10/32"', **FAILED, **ELSEWHERE}],
            WITHDRAW,
        ),
    ],
)
def test_what_was_carried_out_last(
    tmp_path: Path, events: list[dict[str, Any]], last: str | None
) -> None:
    """Whoever did it; a failure leaves it open how the route stands."""
    history = History(str(tmp_path))
    history.append([event(**changes) for changes in events])
    assert history.lately().get("192.0.2.10/32") == last
    with open(tmp_path / "history", "ab") as file:
        file.write(b'{"version":1,"prefix":"192.0.2.10/32","want":"withdr')
    assert "192.0.2.10/32" not in history.lately()


def test_what_was_carried_out_last_is_at_the_end(tmp_path: Path) -> None:
    """No more is read than must be; and what was before this boot tells nothing."""
    history = History(str(tmp_path))
    history.append([event(**ELSEWHERE)])
    history.append([event(f"{number}") for number in range(500)])
    assert history.lately() == {"192.0.2.10/32": WITHDRAW}
    path = tmp_path / "history"
    path.write_text(path.read_text().replace(stamp(time.time())[:4], "2001"))
    assert history.lately() == {}
    path.unlink()
    os.mkfifo(path)  # of somebody who may write there: nobody waits for it
    assert history.lately() == {}
    assert history.trouble is None


def test_a_long_command_is_known_again(tmp_path: Path) -> None:
    """To many neighbors, or with many communities: it is longer than what is kept of it."""
    history = History(str(tmp_path))
    account = Account(history, "callback", "on_reload primary main", {PREFIX: "main"})
    for _ in range(2):
        account.acted({PREFIX: "; ".join([ANNOUNCE] * 20)}, {})
    results = [told["result"] for told in history.read()]
    assert results == ["changed", "unchanged"]


def test_what_changed_nothing_is_no_last_change(tmp_path: Path) -> None:
    """The cause of what stands is told, not who wanted it once more."""
    history = History(str(tmp_path))
    history.append([event("cause"), event("again", result="unchanged")])
    found = history.last(PREFIX)
    assert found
    assert found["trigger"] == "cause"
    assert history.counts()["callback", "changed"] == 1


@pytest.mark.parametrize("what", ["missing", "a file", "a link", "unwritable"])
def test_trouble_is_told_and_never_raised(tmp_path: Path, what: str) -> None:
    """A history that cannot be written must not keep a route from being moved."""
    directory = tmp_path / "state"
    reason = "No such file or directory"
    if what == "a file":
        directory.write_text("")
        reason = "Not a directory"
    elif what != "missing":
        directory.mkdir()
        (directory / "precious").write_text("")
        (directory / "history").symlink_to(directory / "precious")
        reason = "Too many levels of symbolic links"
    if what == "unwritable":
        (directory / "history").unlink()
        (directory / "history").mkdir()
        reason = "Is a directory"
    history = History(str(directory))
    history.append([event()])
    assert history.trouble == (
        f"history file {directory}/history cannot be used: {reason}"
    )
    assert history.counts() == {}
    assert history.last(PREFIX) is None
    assert list(history.read()) == []


def test_trouble_ends(tmp_path: Path) -> None:
    """The loop tells of it when it begins, and when it is over."""
    history = History(str(tmp_path / "state"))
    history.append([event()])
    assert history.trouble
    (tmp_path / "state").mkdir()
    history.append([event()])
    assert history.trouble is None


@pytest.mark.parametrize("name", ["history.4", "history-counts"])
def test_what_stands_in_the_way_of_a_rotation_is_trouble_and_costs_no_event(
    tmp_path: Path, name: str
) -> None:
    """Somebody's directory: the file grows, or the counts are made from what there is."""
    history = History(str(tmp_path), limit=1000)
    (tmp_path / name).mkdir()
    troubles = []
    for number in range(20):
        history.append([event(f"{number}")])
        troubles.append(history.trouble)
    expected = f"history file {tmp_path}/"
    assert [trouble for trouble in troubles if trouble]
    assert all(trouble.startswith(expected) for trouble in troubles if trouble)
    (tmp_path / name).rmdir()
    assert triggers(history) == [f"{number}" for number in range(20)]


class Writer:
    """A process that appends, and tells what is acknowledged.

    After `after` seconds of its own work, counted from its first event, it sends itself the
    signal `fate`: however busy the machine is, that is in the midst of its work.
    """

    def __init__(
        self, directory: Path, said: Path, limit: int, fate: int = 0, after: float = 0
    ) -> None:
        self.name = said.name
        self._said = said
        count = ENDLESS if fate else COUNT
        code = [WRITER, str(directory), self.name, str(count), str(limit)]
        doom = [str(int(fate)), str(after)]
        with said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", *code, *doom], stdout=out, cwd=ROOT
            )

    def acknowledged(self) -> list[str]:
        """What was, so far; a torn last line is none."""
        lines = self._said.read_text().splitlines(True)
        return [line[:-1] for line in lines if line.endswith("\n")]

    def has(self, count: int) -> bool:
        """Whether so many were."""
        return len(self.acknowledged()) >= count


Start = Callable[..., Writer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a writer, which is called "a", "b" ..."""
    (tmp_path / "state").mkdir()
    names = iter("abcdefgh")
    with contextlib.ExitStack() as started:

        def writer(limit: int, fate: int = 0, after: float = 0) -> Writer:
            said = tmp_path / next(names)
            found = Writer(tmp_path / "state", said, limit, fate, after)
            started.callback(found.process.wait)
            started.callback(found.process.kill)
            return found

        yield writer


def test_eight_writers_lose_nothing(tmp_path: Path, start: Start) -> None:
    """1,600 events, rotated three times meanwhile, each there once and each writer's in order."""
    writers = [start(120_000) for _ in range(8)]
    for writer in writers:
        assert writer.process.wait(120) == 0
    history = History(str(tmp_path / "state"))
    found = triggers(history)
    assert len(found) == 8 * COUNT
    assert history.skipped == 0
    assert (tmp_path / "state" / "history.3").exists()
    assert history.counts() == {("callback", "changed"): 8 * COUNT}
    for writer in writers:
        mine = [trigger for trigger in found if trigger.startswith(writer.name)]
        assert mine == writer.acknowledged()


@pytest.mark.parametrize("seed", range(3))
def test_writers_that_are_killed_or_stopped_cost_no_other_event(
    tmp_path: Path, start: Start, seed: int
) -> None:
    """At any point: in the lock, in a rotation, in a write. What was acknowledged is there."""
    choice = random.Random(seed)
    moments = [choice.uniform(0.001, LATEST) for _ in range(5)]
    stopped = start(LIMIT, signal.SIGSTOP, moments.pop())
    killed = [start(LIMIT, signal.SIGKILL, moment) for moment in moments]
    others = [start(LIMIT) for _ in range(3)]
    for writer in killed:
        assert writer.process.wait(120) == -signal.SIGKILL
    became = os.waitid(
        os.P_PID, stopped.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT
    )
    assert became
    assert became.si_code == os.CLD_STOPPED
    for writer in others:
        done = len(writer.acknowledged())
        until(partial(writer.has, min(done + 5, COUNT)), "events beside a stopped one")
    stopped.process.send_signal(signal.SIGCONT)
    for writer in (stopped, *others):
        assert writer.process.wait(120) == 0
    history = History(str(tmp_path / "state"))
    found = triggers(history)
    assert len(found) == len(set(found))
    assert history.counts() == {("callback", "changed"): len(found)}
    for writer in (stopped, *killed, *others):
        mine = [trigger for trigger in found if trigger.startswith(writer.name)]
        said = writer.acknowledged()
        assert mine[: len(said)] == said
        assert len(mine) <= len(said) + 1  # killed before it could tell


def test_a_lock_that_is_never_freed_delays_for_a_moment_only(tmp_path: Path) -> None:
    """Its holder is stopped: the event is written, behind a newline of its own."""
    history = History(str(tmp_path), limit=300)
    history.append([event("before")])
    with open(tmp_path / "history", "ab") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        holder.write(b'{"torn')
        holder.flush()
        start = time.monotonic()
        for number in range(3):
            history.append([event(f"{number}")])
        assert time.monotonic() - start < 10  # three times 0.1 s
    assert history.trouble is None
    assert triggers(history) == ["before", "0", "1", "2"]
    assert not (tmp_path / "history.1").exists()


def test_a_file_of_root_s_belongs_to_the_directory_s_owner(tmp_path: Path) -> None:
    """An operator's first run must not lock Patroni's user out, nor must a rotation."""
    os.chown(tmp_path, 65534, 65534)
    history = History(str(tmp_path), limit=1000)
    for _ in range(5):
        history.append([event()])
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {65534}
    assert {path.stat().st_mode & 0o007 for path in tmp_path.iterdir()} == {0}


def rotate(directory: Path) -> None:
    """As another process does."""
    for number in (3, 2, 1):
        with contextlib.suppress(FileNotFoundError):
            old = directory / f"history.{number}"
            os.rename(old, directory / f"history.{number + 1}")
    os.rename(directory / "history", directory / "history.1")


def test_a_rotation_between_opening_and_locking_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the old file for the new one rotates a second time, for nothing."""
    history = History(str(tmp_path), limit=1000)
    while not (tmp_path / "history").exists() or (
        (tmp_path / "history").stat().st_size < 1000
    ):
        history.append([event("old")])
    lock = fcntl.flock
    rotated: list[int] = []

    def slow(file: int, operation: int) -> None:
        if not rotated:
            rotated.append(file)
            rotate(tmp_path)
            (tmp_path / "history").write_text("")
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    history.append([event("new")])
    assert rotated
    assert not (tmp_path / "history.2").exists()
    assert (tmp_path / "history").read_text().count('"new"') == 1


@pytest.mark.parametrize("after", range(4))
def test_a_rotation_between_two_openings_hides_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Whoever reads opens the files from the newest on, as they move to older numbers."""
    history = History(str(tmp_path))
    for number in range(3):
        history.append([event(f"{number}")])
        if number < 2:
            rotate(tmp_path)
    original = os.open
    opened: list[str] = []

    def slow(path: str, flags: int, mode: int = 0o777) -> int:
        if len(opened) == after:
            rotate(tmp_path)
        opened.append(path)
        return original(path, flags, mode)

    monkeypatch.setattr(os, "open", slow)
    assert triggers(history) == ["0", "1", "2"]


def followed(following: Iterator[dict[str, Any] | None], looks: int = 3) -> list[str]:
    """What is new in the next `looks` looks; a new file is met with the second."""
    found: list[str] = []
    while looks:
        told = next(following)
        if told is None:
            looks -= 1
        else:
            found.append(told["trigger"])
    return found


def test_following_goes_on_across_rotations(tmp_path: Path) -> None:
    """Several between two looks, too; and a line that somebody still had the old file for."""
    history = History(str(tmp_path), limit=1000)
    following = History(str(tmp_path)).follow()
    assert next(following) is None  # there is no file yet
    for count in (1, 3, 10, 1):
        expected = [f"{count}: {number}" for number in range(count)]
        for trigger in expected:
            history.append([event(trigger)])
        assert followed(following) == expected
    with open(tmp_path / "history", "ab") as late:
        rotate(tmp_path)
        history.append([event("new")])
        assert followed(following) == ["new"]
        told = {**next(history.read()), "trigger": "late"}
        late.write(json.dumps(told).encode() + b"\n")
        late.flush()
        assert followed(following) == ["late"]


def test_a_file_that_is_emptied_is_followed_from_its_beginning(tmp_path: Path) -> None:
    """As `: > history` leaves it."""
    history = History(str(tmp_path))
    history.append([event("1"), event("2")])
    following = history.follow()
    assert [next(following), next(following), next(following)][2] is None
    os.truncate(tmp_path / "history", 0)
    history.append([event("3")])
    assert next(following)["trigger"] == "3"  # type: ignore[index]


def test_a_moment_is_written_in_utc() -> None:
    """To the millisecond; the text sorts as the moments do."""
    assert stamp(0.9996) == "1970-01-01T00:00:01.000Z"
    assert stamp(0.0094) == "1970-01-01T00:00:00.009Z"
    assert stamp(1_795_489_965.0) == "2026-11-24T03:12:45.000Z"


@pytest.mark.parametrize("reading", ["counts", "last_all"])
def test_reading_hides_no_append_that_failed(tmp_path: Path, reading: str) -> None:
    """The metrics are written, with their counts, before anybody asks for trouble."""
    (tmp_path / "history").write_text("")
    history = History(str(tmp_path))
    (tmp_path / "history").unlink()
    (tmp_path / "history").symlink_to("elsewhere")
    history.append([event("lost")])
    (tmp_path / "history").unlink()
    getattr(history, reading)()
    assert "cannot be used" in str(history.trouble)
