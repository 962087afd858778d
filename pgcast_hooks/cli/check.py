"""`pgcast check`: what would break on the night, for people and for monitoring."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import click

from pgcast_hooks.check import Options, Report, plugin, run
from pgcast_hooks.check.finding import Severity, worst
from pgcast_hooks.check.range import Range, parse
from pgcast_hooks.cli.duration import Seconds
from pgcast_hooks.cli.group import main
from pgcast_hooks.errors import EX_CONFIG, EX_OK, EX_UNAVAILABLE

JSON_VERSION = 1
MAX_SECONDS = 300.0


def _range(_: click.Context, __: click.Parameter, value: str | None) -> Range | None:
    """A threshold of the plugin guidelines."""
    try:
        return None if value is None else parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class _Plugin(click.Command):
    """With --nagios not even a bug ends without a status line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            told = (click.exceptions.Exit, click.UsageError)
            if not ctx.params["nagios"] or isinstance(error, told):
                raise
            why = f"a bug, please report it: {type(error).__name__}: {error}"
            _end_as_plugin(*plugin.lost(" ".join(why.split())))


@main.command(cls=_Plugin)
@click.option("--all", "-v", "everything", is_flag=True, help="Show what is OK, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--nagios",
    is_flag=True,
    help="Be a monitoring plugin: a status line, performance data, exit code 0 to 3.",
)
@click.option(
    "--warning",
    "-w",
    metavar="RANGE",
    callback=_range,
    help="Age of the reconciler's last pass in seconds that is a warning outside of RANGE."
    " [default: by its interval]",
)
@click.option(
    "--critical",
    "-c",
    metavar="RANGE",
    callback=_range,
    help="The same, critical. [default: by its interval]",
)
@click.option(
    "--timeout",
    "-t",
    metavar="SECONDS",
    type=Seconds(1, MAX_SECONDS),
    default=10.0,
    show_default=True,
    help="How long it may take in all.",
)
@click.option(
    "--patroni-config",
    metavar="FILE",
    help="Patroni's own configuration. [default: what the running Patroni was started with]",
)
@click.pass_obj
def check(
    path: str,
    everything: bool,
    as_json: bool,
    nagios: bool,
    warning: Range | None,
    critical: Range | None,
    timeout: float,
    patroni_config: str | None,
) -> None:
    """Look at everything that an announcement needs, and say what would fail, and what to
    do about it. Changes nothing.

    Run it as root, or as the user that Patroni runs as. The exit code is 0 where nothing is
    worse than a warning, 78 where the configuration has mistakes, 69 otherwise; with --nagios
    it is 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. A RANGE is [@]start:end.
    """
    if nagios and as_json:
        raise click.UsageError("--nagios goes without --json")
    done = run(path, Options(timeout, patroni_config, (warning, critical)))
    report = done.report
    broken = [f for f in report.findings if _is_config_mistake(f.name, f.severity)]
    if nagios:
        if broken:
            _end_as_plugin(*plugin.lost(plugin.line(broken[0])))
        _end_as_plugin(*plugin.render(report, done.allowed, everything))
    elif as_json:
        click.echo(json.dumps(_document(report), indent=2))
    else:
        for finding in plugin.told(report.findings, everything):
            click.echo(plugin.line(finding))
        click.echo(f"{worst(report.findings).value}: {plugin.count(report.findings)}")
    sys.exit(EX_CONFIG if broken else _exit_code(report))


def _is_config_mistake(name: str, severity: Severity) -> bool:
    return name == "config.valid" and severity is not Severity.OK


def _exit_code(report: Report) -> int:
    bad = worst(report.findings) in (Severity.CRITICAL, Severity.UNKNOWN)
    return EX_UNAVAILABLE if bad else EX_OK


def _document(report: Report) -> dict[str, Any]:
    findings = [
        {**finding._asdict(), "severity": finding.severity.value}
        for finding in report.findings
    ]
    return {
        "version": JSON_VERSION,
        "status": worst(report.findings).value,
        "findings": findings,
        "figures": {name: one.value for name, one in report.figures.items()},
    }


def _end_as_plugin(said: str, code: int) -> NoReturn:
    click.echo(said)
    sys.exit(code)
