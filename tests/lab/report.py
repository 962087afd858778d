"""How a soak tells what it saw: a line for each fault, a table at the end.

It exists so that the run itself is read without its printing.
"""

from __future__ import annotations

import dataclasses
import statistics
import time

from .faults import FAULTS
from .invariants import Violation

ROW = "{:>4}  {:>7}  {:34}  {:6}  {:>8}  {:>9}  {:>10}"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a fault did. Times in seconds."""

    fault: str
    outage: float
    healthy: float | None
    """From the undoing; None: not within the bound."""
    violations: list[Violation]
    note: str
    logs: str
    """Their tails, if something was violated."""


def head() -> None:
    print(
        ROW.format("#", "at", "fault", "member", "outage", "healthy", "violations"),
        flush=True,
    )


def line(number: int, at: float, member: str, result: Result) -> None:
    """One fault."""
    healthy = "never" if result.healthy is None else f"{result.healthy:.1f} s"
    outage = f"{result.outage:.2f} s"
    cells = [f"{at:.0f} s", result.fault, member, outage, healthy]
    note = f"  ({result.note.lstrip('; ')})" if result.note else ""
    print(ROW.format(number, *cells, len(result.violations)) + note)
    print_violations(result.violations)
    if result.logs:
        print("        " + result.logs.replace("\n", "\n        "), flush=True)


def print_violations(violations: list[Violation]) -> None:
    """Each rule's first one in full, of the others the number."""
    for rule in dict.fromkeys(v.rule for v in violations):
        found = [v for v in violations if v.rule == rule]
        first = found[0]
        clock = time.strftime("%H:%M:%S", time.localtime(first.time))
        clock += f"{first.time % 1:.3f}"[1:]
        print(f"      VIOLATION {rule}, {len(found)} times, first {clock}:")
        print("        " + first.detail.replace("\n", "\n        "))
    print(end="", flush=True)


def table(results: list[Result], bound: float) -> None:
    """One line for each kind of fault; what never ended counts with the bound."""
    row = "{:34}  {:>5}  {:>13}  {:>10}  {:>11}  {:>10}"
    cells = ["fault", "count", "median outage", "max outage", "max healthy"]
    print("\n" + row.format(*cells, "violations"))
    for name in FAULTS:
        found = [r for r in results if r.fault == name]
        if not found:
            continue
        outages = [r.outage for r in found]
        healthy = [bound if r.healthy is None else r.healthy for r in found]
        figures = statistics.median(outages), max(outages), max(healthy)
        cells = [f"{value:.2f} s" for value in figures]
        print(
            row.format(name, len(found), *cells, sum(len(r.violations) for r in found))
        )
