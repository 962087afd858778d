"""A report as the monitoring plugins' guidelines have it.

One line for people with the status first, then performance data behind `|`, then a line for
each finding; and the exit code, which is the status. Renders, and knows no check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pgcast_hooks.check.finding import Figure, Finding, Report, Severity, worst
from pgcast_hooks.check.range import Range

SERVICE = "PGCAST"
EXIT_CODES = {
    Severity.OK: 0,
    Severity.WARNING: 1,
    Severity.CRITICAL: 2,
    Severity.UNKNOWN: 3,
}


def render(
    report: Report,
    allowed: Mapping[str, tuple[Range, Range]],
    everything: bool = False,
) -> tuple[str, int]:
    """The output and the exit code. `allowed`: figure → its ranges for warning and critical."""
    status = worst(report.findings)
    shown = told(report.findings, everything)
    bad = [f for f in report.findings if f.severity is not Severity.OK]
    if bad:
        first = next(finding for finding in bad if finding.severity is status)
        said = f"{count(report.findings)}; {line(first)}"
    else:
        said = count(report.findings)
    data = " ".join(
        datum(label, figure, allowed.get(label))
        for label, figure in report.figures.items()
    )
    head = f"{SERVICE} {status.value} - {_plain(said)}"
    lines = [f"{head} | {data}" if data else head, *map(_plain, map(line, shown))]
    return "\n".join(lines), EXIT_CODES[status]


def lost(why: str) -> tuple[str, int]:
    """The output where nothing could be checked at all."""
    said = f"{SERVICE} {Severity.UNKNOWN.value} - {_plain(why)}"
    return said, EXIT_CODES[Severity.UNKNOWN]


def told(findings: Iterable[Finding], everything: bool) -> list[Finding]:
    """Those to show."""
    return [f for f in findings if everything or f.severity is not Severity.OK]


def line(finding: Finding) -> str:
    """A finding as one line."""
    said = f"{finding.severity.value} {finding.name} {finding.object}: {finding.text}"
    said = f"{said}: {finding.advice}" if finding.advice else said
    said = " ".join(said.split())
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def count(findings: Iterable[Finding]) -> str:
    """How many of each kind there are."""
    found = [finding.severity for finding in findings]
    words = [
        f"{found.count(severity)} {severity.value}"
        for severity in (Severity.CRITICAL, Severity.UNKNOWN, Severity.WARNING)
        if severity in found
    ]
    return ", ".join([*words, f"{found.count(Severity.OK)} OK"])


def datum(label: str, figure: Figure, ranges: tuple[Range, Range] | None) -> str:
    """One figure: 'label'=value[UOM];[warn];[crit];[min];[max]."""
    warn, crit = map(str, ranges) if ranges else ("", "")
    most = "" if figure.most is None else f"{figure.most:g}"
    value = f"{figure.value:.3f}".rstrip("0").rstrip(".")
    return f"'{label}'={value}{figure.unit};{warn};{crit};0;{most}".rstrip(";")


def _plain(text: str) -> str:
    """Without the character that begins performance data."""
    return text.replace("|", "/")
