"""STUB of the history: to be replaced by the module of that name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from pgcast_hooks.model import Event, Prefix


class History:
    """One JSON line for each event."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "history")
        self.trouble: str | None = None

    def append(self, events: Sequence[Event]) -> None:
        """Note events."""
        with open(self._path, "a") as file:
            for event in events:
                line = {
                    "version": 1,
                    "time": "2026-11-24T03:12:45.123Z",
                    "user": "postgres",
                    **event._asdict(),
                    "prefix": str(event.prefix),
                }
                file.write(json.dumps(line) + "\n")

    def read(self) -> Iterator[dict[str, Any]]:
        """Oldest first."""
        try:
            with open(self._path) as file:
                for line in file:
                    yield json.loads(line)
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"history {self._path} cannot be read: {error.strerror}"

    def last(self, prefix: Prefix) -> dict[str, Any] | None:
        """The last change of a route."""
        found = None
        for event in self.read():
            if event["prefix"] == str(prefix) and event["result"] == "changed":
                found = event
        return found
