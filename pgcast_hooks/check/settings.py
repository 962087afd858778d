"""Patroni's own configuration: its file, which the running Patroni's command line names, and
the dynamic part, as Patroni puts them together.

Patroni's REST API shows the dynamic part only; so the file is read. Judges nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Union

from pgcast_hooks import document
from pgcast_hooks.check.process import Process, configuration_of

USUAL = ("/etc/patroni", "/etc/patroni.yml", "/etc/patroni/config.yml")

Local = Union[Mapping[str, Any], str]
"""Patroni's own configuration; a text: why it cannot be had."""


class Source(NamedTuple):
    """Where a Patroni has its configuration from, and the process, where one runs."""

    place: str
    local: Local
    process: Process | None

    @property
    def scope(self) -> str | None:
        """The scope, which the environment may overrule."""
        environment = self.process.environment if self.process else None
        scope = (environment or {}).get("PATRONI_SCOPE")
        if not scope and isinstance(self.local, Mapping):
            scope = self.local.get("scope")
        return None if scope is None else str(scope)


class Commands(NamedTuple):
    """What Patroni runs: action → command line, and before_stop's; None: not set."""

    place: str
    callbacks: Mapping[str, str]
    before_stop: str | None


def sources(processes: Iterable[Process], named: str | None) -> list[Source]:
    """The configuration that is named; else each running Patroni's, then the usual places."""
    running = list(processes)
    if named:
        mine = [p for p in running if configuration_of(p.argv) in (named, None)]
        one = mine[0] if len(mine) == 1 else (running[0] if len(running) == 1 else None)
        return [Source(named, read(named), one)]
    found = [_of_process(process) for process in running]
    if found:
        return found
    paths = [path for path in USUAL if os.path.exists(path)]
    if "/etc/patroni" in paths:
        paths[:1] = _files("/etc/patroni")
    return [Source(path, read(path), None) for path in dict.fromkeys(paths)]


def _of_process(process: Process) -> Source:
    path = configuration_of(process.argv)
    place = os.path.join(process.directory or "/", path) if path else ""
    if path and os.path.exists(place):
        return Source(place, read(place), process)
    where = f"the environment of process {process.pid}"
    if process.environment is None:
        return Source(where, "cannot be read by this user", process)
    if path:
        return Source(place, "does not exist", process)
    return Source(where, "has no file: Patroni is set up by its environment", process)


def read(path: str) -> Local:
    """A file of Patroni's, or all of a directory, the later ones over the earlier."""
    merged: dict[str, Any] = {}
    for name in _files(path) if os.path.isdir(path) else [path]:
        try:
            content, _ = document.read(name)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        except ValueError as error:
            return str(error)
        if not isinstance(content, dict):
            return "is not a mapping"
        _patch(merged, content)
    return merged


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [os.path.join(directory, n) for n in names if n.endswith((".yml", ".yaml"))]


def _patch(old: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            _patch(old[key], value)
        else:
            old[key] = value


def effective(source: Source, dynamic: Mapping[str, Any] | None) -> Commands:
    """What Patroni makes of its file and the dynamic configuration: the file's word counts."""
    parts = [dynamic or {}, source.local if isinstance(source.local, Mapping) else {}]
    together: dict[str, Any] = {}
    for part in parts:
        section = part.get("postgresql")
        if isinstance(section, Mapping):
            together.update(section)
    callbacks = together.get("callbacks")
    commands = callbacks if isinstance(callbacks, Mapping) else {}
    before_stop = together.get("before_stop")
    return Commands(
        source.place,
        {str(action): str(line) for action, line in commands.items() if line},
        str(before_stop) if before_stop else None,
    )
