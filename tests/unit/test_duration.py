"""Durations, as people write and read them."""

from __future__ import annotations

import click
import pytest

from pgcast_hooks.cli.duration import Duration, spoken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400)],
)
def test_a_duration(text: str, seconds: float) -> None:
    """In the units that everybody knows, the greatest first."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "m", "0s", "-1h", "1.5h", "30m1h", "1w", "400d", "10 m", "٣h"]
)
def test_no_duration(text: str) -> None:
    """A number without a unit is as likely to be minutes as seconds."""
    with pytest.raises(click.BadParameter, match=r"a unit|length of time|up to"):
        Duration().convert(text, None, None)


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
