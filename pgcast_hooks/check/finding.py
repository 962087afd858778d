"""What one check says: a stable name, how bad it is, of what it speaks, and what to do.

Types only; no check and no output is here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple


class Severity(enum.Enum):
    """How bad it is. UNKNOWN: it could not be told, which may hide anything."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"
    UNKNOWN = "UNKNOWN"


RANK = (Severity.OK, Severity.WARNING, Severity.UNKNOWN, Severity.CRITICAL)


class Finding(NamedTuple):
    """One line of `pgcast check`. `name` is a contract: scripts and silences go by it."""

    severity: Severity
    name: str  # dotted: "pipe.reader"
    object: str  # what it speaks of: a path, a neighbor, a prefix, a scope
    text: str  # what is so
    advice: str = ""  # what to do, one phrase or command


class Figure(NamedTuple):
    """A number that a monitoring system may draw."""

    value: float
    unit: str = ""
    most: float | None = None


class Report(NamedTuple):
    """All that a run found."""

    findings: tuple[Finding, ...]
    figures: dict[str, Figure]


def ok(name: str, object: str, text: str) -> Finding:
    """All is well."""
    return Finding(Severity.OK, name, object, text)


def warning(name: str, object: str, text: str, advice: str) -> Finding:
    """It works, and somebody should see to it."""
    return Finding(Severity.WARNING, name, object, text, advice)


def critical(name: str, object: str, text: str, advice: str) -> Finding:
    """It fails now, or when it is needed."""
    return Finding(Severity.CRITICAL, name, object, text, advice)


def unknown(name: str, object: str, text: str, advice: str) -> Finding:
    """It could not be told."""
    return Finding(Severity.UNKNOWN, name, object, text, advice)


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst severity; OK where there is none."""
    found = [finding.severity for finding in findings]
    return max(found, key=RANK.index, default=Severity.OK)
