"""The callbacks that Patroni has: whether each runs this program, judged.

`pgcast_hooks.check.settings` has read them; here only a wrapper's script is looked into.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.check.process import INTERPRETER
from pgcast_hooks.check.settings import Commands, Source

SCRIPT = "pgcast-callback"
NEEDED = ("on_start", "on_stop", "on_restart", "on_role_change")
ACTIONS = (*NEEDED, "on_reload")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What runs a program in its own place, with those of its options that take a word.
RUNNERS = {
    "env": ("-u", "-C", "--unset", "--chdir"),
    "ionice": ("-c", "-n", "--class", "--classdata"),
    "nice": ("-n", "--adjustment"),
    "setsid": (),
    "stdbuf": ("-i", "-o", "-e"),
    "sudo": ("-u", "-g", "--user", "--group"),
    "systemd-cat": ("-t", "-p"),
    "timeout": ("-k", "-s", "--kill-after", "--signal"),
}
OPTION = re.compile(r"-.*", re.DOTALL)
VARIABLE = re.compile(r"\w+=.*", re.DOTALL)
DURATION = re.compile(r"[\d.]+[smhd]?")
SCRIPT_SIZE = 1 << 16  # bytes of a wrapper that are read


class Program(NamedTuple):
    """What a command line comes to: the program, and what follows `pgcast-callback` in it.

    `arguments` is None where the line does not run pgcast-callback. `config` is what
    PGCAST_CONFIG is set to in it.
    """

    path: str
    arguments: tuple[str, ...] | None = None
    config: str | None = None


def program(command: str, path: str = PATH) -> Program:
    """The program that a command line runs; `path` as in PATH.

    Patroni gives it to no shell. pgcast-callback is its first word, or comes after what
    runs a program in its own place.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    first, config = words[0] if words else "", None
    while words and os.path.basename(words[0]) != SCRIPT:
        runner = os.path.basename(words[0])
        if runner not in RUNNERS and not INTERPRETER.fullmatch(runner):
            return Program(_which(first, path))
        del words[0]
        while words and OPTION.fullmatch(words[0]):
            valued = words[0] in RUNNERS.get(runner, ())
            del words[: 1 + valued]
        while words and runner == "timeout" and DURATION.fullmatch(words[0]):
            del words[0]
        while words and runner in ("env", "sudo") and VARIABLE.fullmatch(words[0]):
            name, _, value = words.pop(0).partition("=")
            config = value if name == "PGCAST_CONFIG" else config
    if not words:
        return Program(_which(first, path))
    return Program(_which(words[0], path), tuple(words[1:]), config)


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
        if line is None:
            continue
        run = program(line)
        if name == "before_stop" and run.arguments:
            run = run._replace(arguments=run.arguments[:-3])  # judged by themselves
        fault = _wrong(run, trouble, wrappers, ours)
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
    rest, named = list(run.arguments), run.config
    if rest[:1] == ["--config"] and len(rest) > 1:
        named, rest = rest[1], rest[2:]
    elif rest and rest[0].startswith("--config="):
        named, rest = rest[0].partition("=")[2], rest[1:]
    if rest:
        said = shlex.join(rest)
        return name, f"{SCRIPT} is given '{said}', to which Patroni adds its own"
    if named and os.path.realpath(named) != os.path.realpath(ours.config):
        return "patroni.callback_config", f"uses {named}, not {ours.config}"
    return None


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


def unreadable(source: Source | None) -> Finding:
    """Nobody can tell which callbacks there are."""
    place = source.place if source else "patroni.yml"
    why = str(source.local) if source else "is not found"
    text = f"{why}: whether its callbacks are right is not known"
    advice = "name it: pgcast check --patroni-config FILE"
    return unknown("patroni.callbacks", place, text, advice)
