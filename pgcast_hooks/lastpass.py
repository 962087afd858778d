"""How the reconciler's last pass went, as one line for whoever comes next: people and monitoring."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from pgcast_hooks import record
from pgcast_hooks.model import LastPass

RECORD = 16384  # bytes; none is longer
TROUBLE = 300  # letters of each line of trouble in it


def encode(done: LastPass) -> str:
    """The line for a pass that ended `done.ago` seconds ago; of its trouble, what fits."""
    told = {
        "boot": record.boot(),
        "end": time.clock_gettime(time.CLOCK_BOOTTIME) - done.ago,
        "milliseconds": done.milliseconds,
        "changed": done.changed,
        "trouble": _fitting(done.trouble, RECORD - 512),
        "interval": done.interval,
    }
    return json.dumps(told)


def decode(text: str) -> LastPass | None:
    """The pass that a line tells of; None where it is damaged."""
    try:
        told = json.loads(text)
        ago = float("inf")
        if told["boot"] == record.boot():
            ago = time.clock_gettime(time.CLOCK_BOOTTIME) - float(told["end"])
        return LastPass(
            ago,
            float(told["milliseconds"]),
            int(told["changed"]),
            tuple(map(str, told["trouble"])),
            None if told["interval"] is None else float(told["interval"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def cut(trouble: str) -> str:
    """A line of trouble as the record of a pass keeps it."""
    return trouble[:TROUBLE]


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """The first of the lines, each cut short, and how many were left out, as JSON within
    `room` bytes."""
    fitting: list[str] = []
    for line in lines:
        room -= len(json.dumps(cut(line))) + 2
        if room < 0:
            return [*fitting, f"and {len(lines) - len(fitting)} more"]
        fitting.append(cut(line))
    return fitting
