"""The callbacks that Patroni has: whether each runs this program, judged.

`pgcast_hooks.check.settings` has read them; here only a wrapper's script is looked into.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.check.settings import Commands, Source

SCRIPT = "pgcast-callback"
NEEDED = ("on_start", "on_stop", "on_restart", "on_role_change")
ACTIONS = (*NEEDED, "on_reload")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPT_SIZE = 1 << 16  # bytes of a wrapper that are read


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
