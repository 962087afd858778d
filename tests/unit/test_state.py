"""The state directory: what a process tells the next one, and that it can be
missing."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from pgcast_hooks.errors import AlreadyRunning
from pgcast_hooks.state import MANY_MARKS, UNKNOWN_MARKS, State


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
