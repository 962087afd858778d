"""A length of time as people type it: 10s, 30m, 2h, 1d, 1h30m."""

from __future__ import annotations

import math
import re
from typing import Any

import click

PATTERN = re.compile(
    "(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"
)
UNITS = (86400.0, 3600.0, 60.0, 1.0)
MOST = 366 * 86400.0


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks only
    """Gives seconds. A number needs its unit: 30 might be meant in minutes or seconds."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        if isinstance(value, float):
            return value
        seconds = parse(value)
        if seconds is None:
            number = value.isascii() and value.isdigit()
            cure = (
                f"needs a unit: {value}s, {value}m, {value}h or {value}d"
                if number
                else "is not a length of time such as 10s, 30m, 2h, 1d or 1h30m"
            )
            self.fail(f"{value!r} {cure}", param, ctx)
        if not 0 < seconds <= MOST:
            self.fail(f"{value!r} is not above 0 and up to 366d", param, ctx)
        return seconds


class Seconds(click.FloatRange):
    """A number of seconds between two bounds; "nan" is none, though it is below no bound."""

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


def parse(text: str) -> float | None:
    """Seconds; None where the text is no length of time."""
    match = PATTERN.fullmatch(text)
    if not text or match is None:
        return None
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), UNITS))


def spoken(seconds: float) -> str:
    """A duration in its two greatest units: `1h 30m`, `4d 2h`, `12s`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in zip("dhms", UNITS):
        count, left = divmod(left, int(size))
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
