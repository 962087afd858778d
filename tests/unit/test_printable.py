"""What others say commands no terminal, and begins no line of a log."""

from __future__ import annotations

import logging

import pytest

from pgcast_hooks import callback
from pgcast_hooks.check import plugin
from pgcast_hooks.check.finding import warning
from pgcast_hooks.cli.group import log
from pgcast_hooks.cli.reconciler import _OneLine
from pgcast_hooks.cli.words import printable

WILD = "pg\x1b[2J\n1\u202e"
TAME = "pg?[2J?1?"


def test_printable() -> None:
    """Letters of every language stay."""
    assert printable(f"déjà vu {WILD}") == f"déjà vu {TAME}"


def test_what_a_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    """As the name of a member, in the one line on stderr."""
    log([f"the leader is {WILD}", None])
    assert capsys.readouterr().err == f"pgcast: the leader is {TAME}\n"


def test_what_the_loop_logs() -> None:
    """A message is one line; what an error's place is, is not a message."""
    record = logging.LogRecord("x", logging.INFO, "x", 1, "says %s", (WILD,), None)
    assert _OneLine("pgcast: %(message)s").format(record) == f"pgcast: says {TAME}"


def test_what_a_check_says() -> None:
    """For people and for monitoring."""
    found = warning("patroni.state", "main", f"is {WILD}", "patronictl list")
    said = plugin.line(found)
    assert said == "WARNING patroni.state main: is pg?[2J 1?: patronictl list"


def test_what_a_callback_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Its arguments are whatever it is given."""
    assert callback.main(["--config", "/missing.yml", "on_stop", WILD, "main"]) == 78
    said = capsys.readouterr().err
    assert " on_stop pg?[2J 1? main: " in said
    assert said.count("\n") == 1
