"""Durations as people write them: `45s`, `30m`, `2h`, `1d`, `1h30m`."""

from __future__ import annotations

import re
from typing import Any

import click

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
LONGEST = 366 * UNITS["d"]
_FORM = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in UNITS))


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Gives seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds, more than none and at most a year."""
        if isinstance(value, float):
            return value
        match = _FORM.fullmatch(value)
        if not value or match is None:
            self.fail(
                f"{value!r} is no duration: write it with units, 30m, 2h or 1h30m",
                param,
                ctx,
            )
        parts = zip(match.groups(), UNITS.values())
        seconds = sum(int(count or 0) * unit for count, unit in parts)
        if not 0 < seconds <= LONGEST:
            self.fail(
                f"{value!r} is not between a second and {LONGEST // UNITS['d']} days",
                param,
                ctx,
            )
        return float(seconds)


DURATION = Duration()


def spoken(seconds: float) -> str:
    """A duration in its two greatest units: `1h 30m`, `4d 2h`, `12s`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in UNITS.items():
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
