"""A soak: one fault after the other, drawn by lot, under a client that never rests.

It exists to find what nobody thought of; run by hand. That it can find anything is shown by
running it with a callback that only echoes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import statistics
import threading
import time

from .faults import FAULTS, Scene, kinds
from .host import LabError
from .invariants import CONVERGENCE, Invariants, Violation, trouble
from .lab import Lab
from .watch import RouteWatch, Writer

BOUND = 90.0
"""Seconds for all to be well again after a fault was undone."""
STEADY = 2.0
"""Seconds for which all must have been well."""
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


class Soak:
    """`run()` returns whether nothing was violated."""

    def __init__(self, lab: Lab, faults: int, seed: int, reconciler: bool) -> None:
        self.lab = lab
        self.seed = seed
        self.reconciler = reconciler
        # Drawn at once: what happens does not change what comes next.
        self.plan = random.Random(seed).choices(kinds(reconciler), k=faults)
        self.results: list[Result] = []
        self.late: list[Violation] = []
        self.acknowledged = 0

    def run(self) -> bool:
        began = time.time()
        print(
            f"seed {self.seed}, {len(self.plan)} faults, reconcilers"
            f" {'on' if self.reconciler else 'off'}, ExaBGP {self.lab.exabgp_version},"
            f" callback {self.lab.callback or 'of pgcast'}",
            flush=True,
        )
        with self.lab:
            self._synchronous()
            if self.reconciler:
                self.lab.reconcile(True)
            routes, writer = RouteWatch(self.lab), Writer(self.lab)
            checks = Invariants(writer, routes)
            with routes, checks, writer:
                self._converge(checks)
                self._all(checks)
            self.acknowledged = len(checks.acknowledged)
            self._end(checks)
        self._table(time.time() - began)
        return not self.late and not any(r.violations for r in self.results)

    def _synchronous(self) -> None:
        """No acknowledged write may be lost from now on."""
        lab = self.lab
        lab.patronictl("edit-config", "main", "--force", "-s", "synchronous_mode=true")
        lab.wait_for(
            lambda: (
                lab.sql("SHOW synchronous_standby_names", check=False) != "done"
                and any(m.role == "sync_standby" for m in lab.cluster())
            ),
            60,
            "synchronous standby",
        )

    def _all(self, checks: Invariants) -> None:
        print(
            ROW.format("#", "at", "fault", "member", "outage", "healthy", "violations"),
            flush=True,
        )
        began = time.time()
        with contextlib.suppress(KeyboardInterrupt):
            for number, name in enumerate(self.plan, 1):
                at = time.time() - began
                member, result = self._one(checks, number, name)
                self.results.append(result)
                self._print(number, at, member, result)
                if result.healthy is None and not self._rescue(checks):
                    print("the cluster is beyond repair: this run ends here")
                    break

    def _one(self, checks: Invariants, number: int, name: str) -> tuple[str, Result]:
        """One fault, from a healthy cluster to a healthy cluster."""
        lab = self.lab
        chance = random.Random(f"{self.seed}/{number}")
        threading.Event().wait(chance.uniform(0, 3))
        leader = lab.wait_for(lab.leader, 10, "leader")
        others = [member for member in lab.members if member != leader]
        scene = Scene(lab, chance, leader, chance.choice(others))
        note = ""
        since = time.time()
        try:
            FAULTS[name](scene)
        except LabError as error:
            note = f"not as planned: {error}"
        lab.mend()
        undone = time.time()
        problem, healthy = self._converge(checks)
        outage = checks.outage(since)
        violations = checks.take()
        if problem:
            detail = f"after {BOUND:.0f} s: {problem}\n{lab.logs(30)}"
            violations.append(Violation(time.time(), CONVERGENCE, detail))
        seconds = None if problem else healthy - undone
        return scene.member, Result(name, outage, seconds, violations, note)

    def _converge(self, checks: Invariants) -> tuple[str | None, float]:
        """Wait until all has been well for a while: what is not, and since when all is."""
        deadline = time.monotonic() + BOUND
        ticks = threading.Event()
        well: float | None = None
        while True:
            self._supervise()
            try:
                problem = trouble(self.lab, checks)
            except (LabError, OSError, LookupError) as error:
                problem = f"{type(error).__name__}: {error}"
            now = time.time()
            if problem:
                well = None
            elif well is None:
                well = now
            elif now - well >= STEADY:
                return None, well
            if time.monotonic() > deadline and problem:
                return problem, now
            ticks.wait(0.25)

    def _supervise(self) -> None:
        """Start again what ended, as systemd does."""
        lab = self.lab
        groups = [lab.exabgp, lab.patroni] + [lab.reconciler] * self.reconciler
        for services in groups:
            for name, service in services.items():
                if lab.hosts[name].running and not service.running:
                    service.start()

    def _rescue(self, checks: Invariants) -> bool:
        """What an operator does: let Patroni run all callbacks again."""
        with contextlib.suppress(LabError):
            self.lab.patronictl("reload", "main", "--force")
        problem, _ = self._converge(checks)
        checks.take()
        return problem is None

    def _end(self, checks: Invariants) -> None:
        """With the client gone: has the leader what it was promised?"""
        self.lab.wait_for(self.lab.leader, BOUND, "leader")
        self.late += checks.take() + checks.missing(self.lab)
        print_violations(self.late)

    def _print(self, number: int, at: float, member: str, result: Result) -> None:
        healthy = "never" if result.healthy is None else f"{result.healthy:.1f} s"
        outage = f"{result.outage:.2f} s"
        count = len(result.violations)
        print(
            ROW.format(
                number, f"{at:.0f} s", result.fault, member, outage, healthy, count
            )
            + (f"  ({result.note})" if result.note else "")
        )
        print_violations(result.violations)

    def _table(self, seconds: float) -> None:
        row = "{:34}  {:>5}  {:>13}  {:>10}  {:>12}  {:>10}"
        head = ("fault", "count", "median outage", "max outage", "max healthy")
        print("\n" + row.format(*head, "violations"))
        for name in FAULTS:
            found = [r for r in self.results if r.fault == name]
            if not found:
                continue
            outages = [r.outage for r in found]
            healthy = [BOUND if r.healthy is None else r.healthy for r in found]
            cells = [
                f"{value:.2f} s"
                for value in (statistics.median(outages), max(outages), max(healthy))
            ]
            violations = sum(len(r.violations) for r in found)
            print(row.format(name, len(found), *cells, violations))
        total = sum(len(r.violations) for r in self.results) + len(self.late)
        unplanned = sum(bool(r.note) for r in self.results)
        print(
            f"\nseed {self.seed}: {len(self.results)} of {len(self.plan)} faults in"
            f" {seconds / 60:.0f} min ({unplanned} not as planned),"
            f" {self.acknowledged} acknowledged writes, {total} violations"
            f" ({len(self.late)} found at the end)",
            flush=True,
        )


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


def soak(lab: Lab, faults: int, seed: int, reconciler: bool) -> bool:
    """Run one; whether nothing was violated."""
    return Soak(lab, faults, seed, reconciler).run()
