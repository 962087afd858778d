"""An event as one line of JSON, and the moments by which people read it: what `history` keeps and
`pgcast history` prints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from pgcast_hooks.model import Event
from pgcast_hooks.who import user

VERSION = 1
LONGEST_TEXT = 500  # letters of a field; Patroni and a command line may say anything
KEYS = frozenset({"version", "time", "user", *Event._fields})


def told(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Events that this process has just brought about, each as what its line has."""
    common = {"version": VERSION, "time": stamp(now()), "user": user()}
    return ({**common, **_fields(event)} for event in events)


def encode(event: dict[str, Any]) -> str:
    """An event as the line that is stored, without its newline."""
    return "{" + ",".join(f"{_json(k)}:{_json(v)}" for k, v in event.items()) + "}"


def _json(value: Any) -> str:
    """What json.dumps gives; most texts are plain, and importing it costs a withdrawal 2 ms."""
    plain = isinstance(value, str) and value.isascii() and value.isprintable()
    if plain and '"' not in value and "\\" not in value:
        return f'"{value}"'
    if value is None:
        return "null"
    if type(value) in (int, float):
        return repr(value)
    import json

    return json.dumps(value)


def decode(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it is none that this version can read."""
    import json

    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or not event.keys() >= KEYS:
        return None
    known = event["version"] == VERSION and isinstance(
        event["milliseconds"], (int, float)
    )
    words = ("time", "user", "cause", "trigger", "scope", "prefix", "result")
    known = known and all(isinstance(event[word], str) for word in words)
    return event if known else None


def now() -> float:
    """Seconds since 1970, for people to read: not for anything that is decided."""
    return time.time()


def stamp(moment: float) -> str:
    """A moment as the history writes it: UTC, to the millisecond; sorts as text does."""
    seconds, milliseconds = divmod(round(moment * 1000), 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{milliseconds:03}Z"


def _fields(event: Event) -> dict[str, Any]:
    told = {**event._asdict(), "prefix": str(event.prefix)}
    told["milliseconds"] = round(event.milliseconds, 1)
    return {
        key: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for key, value in told.items()
    }
