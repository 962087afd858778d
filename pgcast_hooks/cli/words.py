"""Figures and moments as people say them."""

from __future__ import annotations

import calendar
import re
import time

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
SIZES = ("B", "kB", "MB", "GB", "TB")  # by 1024, as PostgreSQL has them

_MEASURE = re.compile(r"\b\d+(\.\d+)? (d|h|min|s|ms|B|kB|MB|GB|TB)\b")


def without_measures(text: str) -> str:
    """A text without its lengths of time and sizes, which change though nothing happens."""
    return " ".join(_MEASURE.sub("", text).split())


def printable(text: str) -> str:
    """Text of others, who must be able neither to command the terminal nor to begin a line of
    a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def span(seconds: float) -> str:
    """A length of time, in the two units that matter: "3 h 12 min", "46 s", "0.3 s"."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s".replace(".0 s", " s")
    left = int(seconds)
    parts: list[str] = []
    for length, unit in UNITS:
        count, left = divmod(left, length)
        if parts or count:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def size(count: int) -> str:
    """A number of bytes: "0 B", "3.2 MB"."""
    value, unit = float(count), 0
    while abs(value) >= 1024 and unit < len(SIZES) - 1:
        value, unit = value / 1024, unit + 1
    figure = f"{value:.0f}" if unit == 0 or value >= 10 else f"{value:.1f}"
    return f"{figure} {SIZES[unit]}"


def moment(since_1970: float) -> str:
    """A moment in this host's time zone, and how long ago that is by the clock on the wall."""
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_1970))
    ago = calendar.timegm(time.gmtime()) - since_1970
    return f"{text} ({span(ago)} ago)" if ago >= 0 else text


def parsed(stamp: str) -> float | None:
    """Seconds since 1970 of a history's "2026-11-24T03:12:45.123Z"; None where it is none."""
    try:
        whole = time.strptime(stamp[:19] + stamp[-1:], "%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError):
        return None
    return float(calendar.timegm(whole))
