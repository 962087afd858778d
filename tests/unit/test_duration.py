"""How people type a length of time, and a moment."""

from __future__ import annotations

import time
from typing import Any

import click
import pytest

from pgcast_hooks.cli import history as module
from pgcast_hooks.cli.duration import Duration, spoken
from pgcast_hooks.cli.history import Since


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1d1h1m1s", 90061),
        ("90m", 5400),
        ("0h5s", 5),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    """In seconds."""
    found = Duration().convert(text, None, None)
    assert found == seconds
    assert isinstance(found, float)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30", "'30' needs a unit: 30s, 30m, 30h or 30d"),
        ("", "'' is not a length of time such as 10s, 30m, 2h, 1d or 1h30m"),
        ("m", "'m' is not a length of time"),
        ("30m1h", "'30m1h' is not a length of time"),
        ("1.5h", "'1.5h' is not a length of time"),
        ("-5m", "'-5m' is not a length of time"),
        ("5 m", "'5 m' is not a length of time"),
        ("٣m", "'٣m' is not a length of time"),
        ("5m\n", "is not a length of time"),
        ("0s", "'0s' is not above 0 and up to 366d"),
        ("367d", "'367d' is not above 0 and up to 366d"),
        ("999999999999h", "is not a length of time"),
    ],
)
def test_no_duration(text: str, said: str) -> None:
    """A bare number least of all: it would be guessed at."""
    with pytest.raises(click.BadParameter) as error:
        Duration().convert(text, None, None)
    assert said in error.value.message


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("30m", "2026-11-24T02:42:45Z"),
        ("2d", "2026-11-22T03:12:45Z"),
        ("today", "2026-11-23T23:00:00Z"),
        ("2026-11-24", "2026-11-23T23:00:00Z"),
        ("2026-07-01T12:00", "2026-07-01T10:00:00Z"),
        ("2026-11-24 03:00", "2026-11-24T02:00:00Z"),
        ("2026-11-24T03:00:05", "2026-11-24T02:00:05Z"),
        ("2026-11-24T03:00:05Z", "2026-11-24T03:00:05Z"),
        ("2026-11-24T03:00+05:00", "2026-11-23T22:00:00Z"),
        ("1800-01-01", "1970-01-01T00:00:00Z"),
    ],
)
def test_since(text: str, utc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without a zone is the local one; here an hour, in summer two, before UTC."""
    monkeypatch.setattr(module, "now", lambda: 1_795_489_965.0)
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        found = Since().convert(text, None, None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found)) == utc


@pytest.mark.parametrize(
    "text", ["30", "yesterday", "03:00", "2026-13-01", "", "24.11."]
)
def test_no_since(text: Any) -> None:
    """One line that shows the forms."""
    with pytest.raises(click.BadParameter, match="neither a length of time"):
        Since().convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (12.4, "12s"),
        (60, "1m"),
        (5_405, "1h 30m"),
        (86_405, "1d 5s"),
        (355_000, "4d 2h"),
    ],
)
def test_spoken(seconds: float, text: str) -> None:
    """Two units are enough."""
    assert spoken(seconds) == text
