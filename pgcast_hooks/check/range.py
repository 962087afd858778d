"""Thresholds of monitoring plugins: `[@]start:end`, as the plugin guidelines have them.

An alert is a value outside of the range, or inside of it with `@`; the ends belong to it. No
start means 0, `~` minus infinity, no end infinity.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
RANGE = re.compile(rf"(@?)(?:(~|{NUMBER})?(:))?({NUMBER})?", re.ASCII)


class Range(NamedTuple):
    """One threshold."""

    start: float
    end: float
    inside: bool = False

    def alerts(self, value: float) -> bool:
        """Whether a value is one to alert on."""
        within = self.start <= value <= self.end
        return within if self.inside else not within

    def __str__(self) -> str:
        """As the guidelines write it."""
        start = "~" if self.start == -math.inf else _number(self.start)
        end = "" if self.end == math.inf else _number(self.end)
        text = end if start == "0" and end else f"{start}:{end}"
        return f"@{text}" if self.inside else text


def _number(value: float) -> str:
    """Never in exponent form, which the guidelines do not know."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def parse(text: str) -> Range:
    """A threshold out of an argument. Raises ValueError."""
    match = RANGE.fullmatch(text.strip())
    if match is None or not (match[3] or match[4]):
        raise ValueError(
            f"{text!r} is not a range such as 10, 10:, ~:10, 10:20 or @10:20"
        )
    start = -math.inf if match[2] == "~" else float(match[2] or 0)
    end = float(match[4]) if match[4] else math.inf
    if start > end:
        raise ValueError(f"{text!r} begins behind its end")
    return Range(start, end, bool(match[1]))
