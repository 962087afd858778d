"""What ExaBGP says of its sessions: the answer to `show neighbor extensive`.

The same in 4.2.21, 4.2.25 and 5.0.15 but for blanks, and unlike the summary it names the
neighbors whose session is down in each of them (shortened here; `n/a` while there is no
session)::

    Neighbor 10.0.0.1

      Session                         Local
       local                      10.0.0.11
       state                    ESTABLISHED
       up for                       1:02:03

      Setup                           Local          Remote
       AS                             65001           65000
       hold-time                        180               9

      Capability                      Local          Remote
       graceful-restart:           disabled         enabled

      Families                        Local          Remote        Add-Path
       ipv4 unicast:                enabled         enabled        disabled
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pgcast_hooks.model import Neighbor

ESTABLISHED = "established"

_NAME = re.compile(r"Neighbor (\S+)$")
_LOCAL = re.compile(r" +local +(\S+)\s*$")
_STATE = re.compile(r" +state +(\S+)\s*$")
_AS = re.compile(r" +AS +(\d+) +(\d+|n/a)\s*$")
_HOLD_TIME = re.compile(r" +hold-time +(\d+) +(\d+|n/a)\s*$")
_DURATION = re.compile(
    r" +(?:up|down) for +(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)(?:\.\d+)?\s*$"
)
_RESTART = re.compile(r" +graceful-restart: +(\w+) +(\w+)\s*$")
_FAMILY = re.compile(r" +(ipv[46] unicast): +enabled +enabled\b")


def parse(lines: Iterable[str]) -> tuple[Neighbor, ...]:
    """The neighbors that the lines of the answer describe; other lines are passed over."""
    found: list[Neighbor] = []
    for line in lines:
        name = _NAME.match(line)
        if name:
            found.append(Neighbor(name[1]))
        elif found:
            found[-1] = _with(found[-1], line)
    return tuple(found)


def _with(neighbor: Neighbor, line: str) -> Neighbor:
    """The neighbor with what one line tells of it."""
    if match := _STATE.match(line):
        return neighbor._replace(state=match[1].lower())
    if match := _LOCAL.match(line):
        return neighbor._replace(local=match[1])
    if match := _DURATION.match(line):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        since = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        return neighbor._replace(seconds=since)
    if match := _AS.match(line):
        peer = None if match[2] == "n/a" else int(match[2])
        return neighbor._replace(peer_as=peer)
    if match := _HOLD_TIME.match(line):
        both = [int(time) for time in match.groups() if time != "n/a"]
        return neighbor._replace(hold_time=min(both))
    if match := _RESTART.match(line):
        return neighbor._replace(graceful_restart=match[1] == match[2] == "enabled")
    if match := _FAMILY.match(line):
        return neighbor._replace(families=(*neighbor.families, match[1]))
    return neighbor
