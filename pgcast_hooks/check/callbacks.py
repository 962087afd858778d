"""The callbacks that Patroni really has: out of its file and its dynamic configuration,
judged.

Patroni's REST API shows the dynamic part only, and not what it read from its file; so the file
is read, which the running Patroni's command line names.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Union

from pgcast_hooks import document
from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.check.process import Process, configuration_of

SCRIPT = "pgcast-callback"
NEEDED = ("on_start", "on_stop", "on_restart", "on_role_change")
ACTIONS = (*NEEDED, "on_reload")
USUAL = ("/etc/patroni", "/etc/patroni.yml", "/etc/patroni/config.yml")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPT_SIZE = 1 << 16  # bytes of a wrapper that are read

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


class Program(NamedTuple):
    """What a command line comes to: the program, and what follows `pgcast-callback` in it.

    `arguments` is None where the line does not name pgcast-callback.
    """

    path: str
    arguments: tuple[str, ...] | None = None


def program(command: str, path: str = PATH) -> Program:
    """The program that a command line runs; `path` as in PATH."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    for index, word in enumerate(words):
        if os.path.basename(word) == SCRIPT:
            return Program(_which(word, path), tuple(words[index + 1 :]))
    first = words[0] if words else ""
    return Program(_which(first, path))


def _which(word: str, path: str) -> str:
    return word if "/" in word else shutil.which(word, path=path) or word


def wraps(path: str) -> bool:
    """Whether a program is a script that itself names pgcast-callback."""
    try:
        with open(path, "rb") as file:
            return SCRIPT.encode() in file.read(SCRIPT_SIZE)
    except OSError:
        return False


class Ours(NamedTuple):
    """This installation: its callback script (None: not found) and configuration."""

    script: str | None
    config: str


def judge(
    scope: str,
    commands: Commands,
    has_before_stop: bool,
    trouble: Mapping[str, str | None],
    wrappers: Iterable[str],
    ours: Ours,
) -> list[Finding]:
    """Whether Patroni calls this program for everything that happens.

    `trouble`: program → why Patroni's user cannot run it. One thing that is wrong with
    several callbacks is one finding.
    """
    place, found = commands.place, []
    missing = [name for name in ACTIONS if name not in commands.callbacks]
    if missing:
        level = critical if set(missing) & set(NEEDED) else warning
        text = f"{_list(missing)} not set: what happens then is not told to pgcast"
        advice = f"copy postgresql.callbacks out of examples/patroni.yml; patronictl reload {scope}"
        found.append(level("patroni.callbacks", place, text, advice))
    wrong: dict[tuple[str, str], list[str]] = {}
    lines = {name: commands.callbacks.get(name) for name in ACTIONS}
    for name, line in [*lines.items(), ("before_stop", commands.before_stop)]:
        fault = _wrong(program(line), trouble, wrappers, ours) if line else None
        if fault:
            wrong.setdefault(fault, []).append(name)
    for (kind, why), actions in wrong.items():
        text = f"{', '.join(actions)}: {why}"
        advice = f"name {ours.script or SCRIPT} there; patronictl reload {scope}"
        level = warning if kind == "patroni.callback_config" else critical
        found.append(level(kind, place, text, advice))
    if not found:
        found.append(ok("patroni.callbacks", place, f"all run {SCRIPT}"))
    if has_before_stop:
        found += _judge_before_stop(scope, commands)
    return found


def _list(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _wrong(
    run: Program,
    trouble: Mapping[str, str | None],
    wrappers: Iterable[str],
    ours: Ours,
) -> tuple[str, str] | None:
    """What is wrong with a program that a callback runs: the finding's name, and a text."""
    name = "patroni.callback_program"
    if trouble.get(run.path):
        return name, f"{run.path} cannot be run by Patroni's user: {trouble[run.path]}"
    if run.arguments is None:
        if run.path in wrappers:
            return None
        return name, f"{run.path} is not {SCRIPT}, nor does it name it"
    if ours.script and os.path.realpath(run.path) != os.path.realpath(ours.script):
        return name, f"{run.path} is not this installation's, {ours.script}"
    named = _config_of(run.arguments)
    if named and os.path.realpath(named) != os.path.realpath(ours.config):
        return "patroni.callback_config", f"uses {named}, not {ours.config}"
    return None


def _config_of(arguments: Sequence[str]) -> str | None:
    if arguments[:1] == ("--config",) and len(arguments) > 1:
        return arguments[1]
    first = arguments[0] if arguments else ""
    return first.partition("=")[2] if first.startswith("--config=") else None


def _judge_before_stop(scope: str, commands: Commands) -> list[Finding]:
    name, place = "patroni.before_stop", commands.place
    line = f"before_stop: {SCRIPT} before_stop - {scope}"
    advice = f"write '{line}' there; patronictl reload {scope}"
    if commands.before_stop is None:
        text = "before_stop is not set: a leader that stops is withdrawn late"
        return [warning(name, place, text, advice)]
    arguments = program(commands.before_stop).arguments
    if arguments is None:
        return []  # another program's, or a wrapper's
    given = arguments[-3:]
    if len(given) != 3 or given[0] != "before_stop" or given[2] != scope:
        text = f"before_stop has the arguments {' '.join(arguments) or 'none'}: it must say the scope, {scope}"
        return [critical(name, place, text, advice)]
    return [ok(name, place, "withdraws")]


def unreadable(scope: str, source: Source | None) -> Finding:
    """Nobody can tell which callbacks there are."""
    place = source.place if source else "patroni.yml"
    why = str(source.local) if source else "is not found"
    text = f"{why}: whether its callbacks are right is not known"
    advice = "name it: pgcast check --patroni-config FILE"
    return unknown("patroni.callbacks", place, text, advice)
