"""The state directory: what a process tells the next one, and that it can be
missing."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from pgcast_hooks import record
from pgcast_hooks.errors import AlreadyRunning
from pgcast_hooks.lastpass import RECORD
from pgcast_hooks.model import LastPass
from pgcast_hooks.state import MANY_MARKS, UNKNOWN_MARKS, State

PASS = LastPass(2.0, 51.5, 3, ("main: Patroni did not answer", "ünd"), 2.0)


def test_each_event_changes_the_generation(tmp_path: Path) -> None:
    """Whoever looked before an event can tell, in another process too."""
    state = State(str(tmp_path))
    seen = [state.generation()]
    for _ in range(3):
        State(str(tmp_path)).raise_generation()
        seen.append(state.generation())
    assert len(set(seen)) == 4
    assert state.trouble is None


def test_unread_marks_outlive_the_process(tmp_path: Path) -> None:
    """The next process knows what the last one left in the pipe."""
    assert State(str(tmp_path)).unread_marks() == 0
    for count in (12, 3, 0):
        State(str(tmp_path)).note_unread_marks(count)
        assert State(str(tmp_path)).unread_marks() == count


def test_what_is_about_one_exabgp_is_kept_apart(tmp_path: Path) -> None:
    """Two configurations share a directory: neither counts the other's marks, nor takes its
    reconciler or its pass for its own. Who acted last is the host's."""
    one, other = State(str(tmp_path)), State(str(tmp_path), "/run/exabgp/second")
    one.note_unread_marks(7)
    one.note_pass(PASS)
    one.claim_reconciler()
    assert other.unread_marks() == 0
    assert other.last_pass() is None
    assert other.reconciler() is None
    other.claim_reconciler()
    one.raise_generation()
    assert other.generation() == one.generation()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("generation", "last-pass", "reconciler", "unread-marks"),
        "reconciler-%2Frun%2Fexabgp%2Fsecond",
        "unread-marks-%2Frun%2Fexabgp%2Fsecond",
    }


def test_a_pipe_has_one_name(tmp_path: Path) -> None:
    """However it is written; and no two have the same."""
    (tmp_path / "link").symlink_to("/run/exabgp")
    for path in (
        "/run/exabgp/exabgp",
        f"{tmp_path}/link/exabgp",
        "/run/./exabgp/exabgp",
    ):
        State(str(tmp_path), path).note_unread_marks(1)
    for path in ("/run/a/b", "/run/a%2Fb", "/run/exabgp"):
        State(str(tmp_path), path).note_unread_marks(1)
    assert len(list(tmp_path.glob("unread-marks*"))) == 4


def test_marks_are_bounded(tmp_path: Path) -> None:
    """An ExaBGP that hung through a hundred callbacks does not make the next exchange
    endless."""
    State(str(tmp_path)).note_unread_marks(10**9)
    assert State(str(tmp_path)).unread_marks() == MANY_MARKS


def test_a_damaged_count_is_taken_as_one_killed_exchange(tmp_path: Path) -> None:
    """Damage costs time, never a wrong verdict."""
    for damage in (b"", b"\x00\x00", b"many", b"-3"):
        (tmp_path / "unread-marks").write_bytes(damage)
        assert State(str(tmp_path)).unread_marks() == UNKNOWN_MARKS


def test_a_directory_that_cannot_be_used_is_trouble_and_no_exception(
    tmp_path: Path,
) -> None:
    """It must not keep a withdrawal from being written."""
    (tmp_path / "file").write_text("in the way")
    state = State(str(tmp_path / "file"))
    state.raise_generation()
    state.note_unread_marks(2)
    assert state.generation() == ""
    assert state.unread_marks() == UNKNOWN_MARKS
    assert state.trouble == (
        f"state file {tmp_path}/file/unread-marks cannot be used: Not a directory"
    )


def test_a_missing_directory_is_trouble(tmp_path: Path) -> None:
    """Reading finds nothing, writing says what is missing."""
    state = State(str(tmp_path / "missing"))
    assert state.generation() == "0"
    assert state.trouble is None
    state.raise_generation()
    assert "missing/generation cannot be used: No such file" in str(state.trouble)


def test_a_count_that_cannot_be_written_is_not_relied_on(tmp_path: Path) -> None:
    """A directory that is gone, or became read-only with a zero in it, knows nothing."""
    assert State(str(tmp_path / "missing")).unread_marks() == UNKNOWN_MARKS


def test_who_looks_for_a_reconciler_is_none(tmp_path: Path) -> None:
    """The one that runs is named; a look takes the place from nobody."""
    state = State(str(tmp_path))
    assert state.reconciler() is None
    assert list(tmp_path.iterdir()) == []
    looked_at = os.open(tmp_path / "reconciler", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looked_at, fcntl.LOCK_SH)
    threading.Timer(0.02, os.close, [looked_at]).start()
    State(str(tmp_path)).claim_reconciler()
    assert state.reconciler() == str(os.getpid())
    with pytest.raises(AlreadyRunning):
        State(str(tmp_path)).claim_reconciler()


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "directory"])
def test_root_is_not_led_to_other_files(tmp_path: Path, kind: str) -> None:
    """Patroni's user owns the directory: what it puts there must not be written through."""
    other = tmp_path / "other"
    other.write_text("precious")
    directory = tmp_path / "state"
    directory.mkdir()
    place = directory / "generation"
    if kind == "link":
        place.symlink_to(other)
    elif kind == "hard link":
        place.hardlink_to(other)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    state = State(str(directory))
    state.raise_generation()
    assert "state file" in str(state.trouble)
    assert other.read_text() == "precious"


def test_a_link_to_nothing_makes_no_file(tmp_path: Path) -> None:
    """Nor is one created, and given away, where a link points."""
    (tmp_path / "generation").symlink_to(tmp_path / "elsewhere")
    State(str(tmp_path)).raise_generation()
    assert not (tmp_path / "elsewhere").exists()


def test_the_last_pass_outlives_the_process(tmp_path: Path) -> None:
    """With how long ago it ended; a shorter record leaves nothing of a longer one."""
    assert State(str(tmp_path)).last_pass() is None
    for done in (PASS, PASS._replace(trouble=(), interval=None)):
        State(str(tmp_path)).note_pass(done)
        state = State(str(tmp_path))
        found = state.last_pass()
        assert found
        assert 2.0 <= found.ago < 60
        assert found._replace(ago=2.0) == done
        assert state.trouble is None


def test_a_pass_before_this_boot_was_endlessly_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock that counts begins anew."""
    State(str(tmp_path)).note_pass(PASS)
    monkeypatch.setattr(record, "boot", lambda: "another")
    found = State(str(tmp_path)).last_pass()
    assert found == PASS._replace(ago=float("inf"))


def test_what_patroni_said_before_this_boot_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No route has outlived it."""
    for _ in range(50):  # at whatever moment: a record is rounded
        State(str(tmp_path)).note_known("main", "primary")
        since = State(str(tmp_path)).since_known("main", "primary")
        assert since is not None
        assert 0 <= since < 60
    monkeypatch.setattr(record, "boot", lambda: "another")
    assert State(str(tmp_path)).since_known("main", "primary") is None


def test_much_trouble_is_told_as_far_as_it_fits(tmp_path: Path) -> None:
    """A thousand routes that fail make no record that nobody can read."""
    trouble = tuple(f"{number} {'x' * 1000}" for number in range(1000))
    State(str(tmp_path)).note_pass(PASS._replace(trouble=trouble))
    found = State(str(tmp_path)).last_pass()
    assert found
    assert (tmp_path / "last-pass").stat().st_size < RECORD
    assert [len(line) for line in found.trouble[:40]] == [300] * 40
    assert found.trouble[-1] == f"and {1001 - len(found.trouble)} more"


@pytest.mark.parametrize("damage", ["", "x", "00000000 {}", "half", "one letter"])
def test_a_damaged_last_pass_is_none(tmp_path: Path, damage: str) -> None:
    """Torn by a crash, or overwritten by whatever."""
    path = tmp_path / "last-pass"
    State(str(tmp_path)).note_pass(PASS)
    text = path.read_text()
    if damage == "half":
        damage = text[: len(text) // 2] + "\0" * 40
    elif damage == "one letter":
        damage = text.replace("51.5", "51.6")
    path.write_text(damage)
    assert State(str(tmp_path)).last_pass() is None


def test_a_last_pass_that_cannot_be_noted_is_trouble(tmp_path: Path) -> None:
    """And nothing else."""
    (tmp_path / "last-pass").mkdir()
    state = State(str(tmp_path))
    state.note_pass(PASS)
    assert state.last_pass() is None
    assert state.trouble == (
        f"state file {tmp_path}/last-pass cannot be used: Not a plain file"
    )
