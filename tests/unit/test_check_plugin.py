"""`pgcast check --nagios`: ranges, the status line, performance data, exit codes."""

from __future__ import annotations

import math
import re

import pytest
from click.testing import CliRunner

from pgcast_hooks import cli
from pgcast_hooks.check import plugin
from pgcast_hooks.check.finding import (
    Figure,
    Finding,
    Report,
    critical,
    ok,
    unknown,
    warning,
    worst,
)
from pgcast_hooks.check.range import Range, parse

GOOD = ok("vip.carried", "192.0.2.10", "is on this host")
WARN = warning(
    "override.standing", "192.0.2.10/32", "withdraw stands", "pgcast auto main"
)
BAD = critical("pipe.reader", "/run/exabgp/exabgp.in", "nobody | reads it", "restart")
DARK = unknown("check.user", "postgres", "cannot be tried", "run it as root")
# 'label'=value[UOM];[warn];[crit];[min];[max]: "Performance data" of the guidelines
DATUM = re.compile(r"'[^'=]+'=-?\d+(\.\d+)?(s|%|B|c)?(;[^; ]*){0,4}")


@pytest.mark.parametrize(
    ("text", "quiet", "alerts"),
    [
        # The table of the guidelines, and its ends, which belong to the range.
        ("10", [0, 5, 10], [-0.1, 10.1, -5]),
        ("10:", [10, 11, 1e9], [9.9, 0, -1]),
        ("~:10", [10, 0, -1e9], [10.1]),
        ("10:20", [10, 15, 20], [9.9, 20.1]),
        ("@10:20", [9.9, 20.1], [10, 15, 20]),
        ("@10", [-1, 11], [0, 5, 10]),
        ("@~:0", [0.1], [0, -5]),
        (":5", [0, 5], [-1, 6]),
        ("~:", [-1e9, 1e9, math.inf], []),
        ("-5:-1", [-5, -1], [0, -6]),
        ("0.5:1.5", [0.5, 1], [0.4, 1.6]),
        (".5:", [0.5], [0.4]),
    ],
)
def test_a_range(text: str, quiet: list[float], alerts: list[float]) -> None:
    """Outside of it is an alert, with @ inside."""
    found = parse(text)
    assert not any(found.alerts(value) for value in quiet)
    assert all(found.alerts(value) for value in alerts)
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", ":x", "x", "10:5", "~", "@", "1:2:3", "10:~", "1,5", "@@1", "-10", "nan"],
)
def test_no_range(text: str) -> None:
    """What the guidelines do not know."""
    with pytest.raises(ValueError, match=r"is not a range|begins behind"):
        parse(text)


@pytest.mark.parametrize(
    ("findings", "status", "code"),
    [
        ([GOOD], "PGCAST OK - 1 OK", 0),
        ([], "PGCAST OK - 0 OK", 0),
        (
            [WARN, GOOD],
            "PGCAST WARNING - 1 WARNING, 1 OK; WARNING override.standing ",
            1,
        ),
        (
            [WARN, BAD, DARK],
            "PGCAST CRITICAL - 1 CRITICAL, 1 UNKNOWN, 1 WARNING, 0 OK; CRITICAL ",
            2,
        ),
        (
            [WARN, DARK],
            "PGCAST UNKNOWN - 1 UNKNOWN, 1 WARNING, 0 OK; UNKNOWN check.user ",
            3,
        ),
    ],
)
def test_the_status(findings: list[Finding], status: str, code: int) -> None:
    """The worst finding is the status and is named first; `|` is for performance data alone."""
    said, got = plugin.render(Report(tuple(findings), {}), {})
    head, *rest = said.split("\n")
    assert got == code
    assert head.startswith(status)
    assert "|" not in said
    assert len(rest) == sum(finding is not GOOD for finding in findings)


def test_performance_data() -> None:
    """Each figure in the guidelines' form, its thresholds as ranges."""
    figures = {
        "reconciler_age": Figure(1.25, "s"),
        "neighbors_established": Figure(1, most=2),
        "findings_critical": Figure(0),
    }
    allowed = {"reconciler_age": (parse("6"), parse("@~:20"))}
    said, _ = plugin.render(Report((GOOD,), figures), allowed)
    head, _, data = said.partition(" | ")
    assert head == "PGCAST OK - 1 OK"
    assert data == (
        "'reconciler_age'=1.25s;6;@~:20;0 'neighbors_established'=1;;;0;2"
        " 'findings_critical'=0;;;0"
    )
    assert all(DATUM.fullmatch(one) for one in data.split())


def test_the_worst() -> None:
    """What is not known may hide anything but what is known to be critical."""
    assert worst([WARN, DARK, GOOD]) is DARK.severity
    assert worst([DARK, BAD]) is BAD.severity
    assert worst([]) is GOOD.severity


@pytest.mark.parametrize(
    "arguments",
    [
        ["--warning", "x"],
        ["--bogus"],
        ["surplus"],
        ["--timeout", "0"],
        ["--timeout"],
        ["--json"],
        [],  # the configuration does not exist
    ],
)
def test_a_mistake_is_unknown(arguments: list[str]) -> None:
    """Exit code 2 would be CRITICAL; and what a person gets stays as it was."""
    command = ["--config", "/nonexistent.yml", "check", *arguments]
    as_plugin = CliRunner().invoke(cli.main, [*command, "--nagios"])
    if arguments[:1] == ["--timeout"] and len(arguments) == 1:
        as_plugin = CliRunner().invoke(
            cli.main, ["--config", "/nonexistent.yml", "check", "--nagios", *arguments]
        )
    assert as_plugin.exit_code == 3
    assert as_plugin.stdout.startswith("PGCAST UNKNOWN - ")
    assert as_plugin.stdout.count("\n") == 1
    by_hand = CliRunner().invoke(cli.main, command)
    assert by_hand.exit_code == (78 if arguments in ([], ["--json"]) else 2)


def test_parsed_ends() -> None:
    """What an argument comes to."""
    assert parse("@~:7") == Range(-math.inf, 7, True)
    assert parse("3:") == Range(3, math.inf)
    assert str(Range(0.00001, 1_234_567)) == "0.00001:1234567"
    assert str(Range(0, 10)) == "10"
