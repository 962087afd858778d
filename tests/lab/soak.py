"""A soak: one fault after the other, drawn by lot, under a client that never rests.

It exists to find what nobody thought of; run by hand. That it can find anything is shown by
running it with a callback that only echoes.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
import time

from . import surroundings  # noqa: F401 (registers its faults)
from .faults import FAULTS, Scene, kinds
from .host import LabError
from .invariants import CONVERGENCE, Invariants, Violation, trouble
from .lab import Lab
from .report import Result, head, line, print_violations, table
from .services import Service
from .traffic import Writer
from .watch import RouteWatch

BOUND = 90.0
"""Seconds for all to be well again after a fault was undone."""
SLOW = 20.0
"""Seconds after which it is told what all had to wait for."""
STEADY = 2.0
"""Seconds for which all must have been well."""


class Soak:
    """`run()` returns whether nothing was violated."""

    def __init__(
        self, lab: Lab, faults: int, seed: int, reconciler: bool, synchronous: bool
    ) -> None:
        self.lab = lab
        self.seed = seed
        self.reconciler = reconciler
        self.synchronous = synchronous
        # Drawn at once: what happens does not change what comes next.
        self.plan = random.Random(seed).choices(kinds(reconciler), k=faults)
        self.results: list[Result] = []
        self.late: list[Violation] = []
        self.acknowledged = 0
        self._last = ""

    def run(self) -> bool:
        began = time.time()
        print(
            f"seed {self.seed}, {len(self.plan)} faults, reconcilers"
            f" {'on' if self.reconciler else 'off'}, replication"
            f" {'' if self.synchronous else 'a'}synchronous, ExaBGP {self.lab.exabgp_version},"
            f" callback {self.lab.callback or 'of pgcast'}",
            flush=True,
        )
        with self.lab:
            if self.synchronous:
                self._replicate_synchronously()
            if self.reconciler:
                self.lab.reconcile(True)
            routes, writer = RouteWatch(self.lab), Writer(self.lab)
            checks = Invariants(writer, routes)
            with routes, checks, writer:
                problem, _ = self._converge(checks)
                if problem:
                    raise LabError(f"no healthy cluster to begin with: {problem}")
                self._all(checks)
            self.acknowledged = len(checks.acknowledged)
            self._end(checks)
        table(self.results, BOUND)
        total = sum(len(r.violations) for r in self.results) + len(self.late)
        print(
            f"\nseed {self.seed}: {len(self.results)} of {len(self.plan)} faults in"
            f" {(time.time() - began) / 60:.0f} min"
            f" ({sum('not as planned' in r.note for r in self.results)} not as planned),"
            f" {self.acknowledged} acknowledged writes, {total} violations"
            f" ({len(self.late)} found at the end)",
            flush=True,
        )
        return not self.late and not any(r.violations for r in self.results)

    def _replicate_synchronously(self) -> None:
        """No acknowledged write may be lost from now on."""
        lab = self.lab
        lab.patronictl("edit-config", "main", "--force", "-s", "synchronous_mode=true")
        lab.wait_for(
            lambda: (
                lab.sql("SHOW synchronous_standby_names", check=False)
                not in (None, "done")
                and any(m.role == "sync_standby" for m in lab.cluster())
            ),
            60,
            "synchronous standby",
        )

    def _all(self, checks: Invariants) -> None:
        head()
        began = time.time()
        with contextlib.suppress(KeyboardInterrupt):
            for number, name in enumerate(self.plan, 1):
                at = time.time() - began
                member, result = self._one(checks, number, name)
                self.results.append(result)
                line(number, at, member, result)
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
        except (LabError, OSError, subprocess.SubprocessError) as error:
            note = f"not as planned: {error}"
        lab.mend()
        undone = time.time()
        problem, healthy = self._converge(checks)
        outage = checks.outage(since)
        violations = checks.take()
        if problem:
            detail = f"after {BOUND:.0f} s: {problem}"
            violations.append(Violation(time.time(), CONVERGENCE, detail))
        elif healthy - undone > SLOW:
            note += f"; at last: {self._last}"
        seconds = None if problem else healthy - undone
        logs = lab.logs() if violations else ""
        return scene.member, Result(name, outage, seconds, violations, note, logs)

    def _converge(self, checks: Invariants) -> tuple[str | None, float]:
        """Wait until all has been well for a while: what is not, and since when all is."""
        deadline = time.monotonic() + BOUND
        ticks = threading.Event()
        well: float | None = None
        while True:
            self._supervise()
            try:
                problem = trouble(self.lab, checks, self.synchronous, self.reconciler)
            except (
                LabError,
                OSError,
                LookupError,
                subprocess.SubprocessError,
            ) as error:
                problem = f"{type(error).__name__}: {error}"
            now = time.time()
            if problem:
                well = None
                self._last = problem
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
        for name in lab.members:
            services: list[Service] = [lab.exabgp[name], lab.patroni[name]]
            if self.reconciler:
                services.append(lab.reconciler[name])
            for service in services:
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


def soak(lab: Lab, faults: int, seed: int, reconciler: bool, synchronous: bool) -> bool:
    """Run one; whether nothing was violated."""
    return Soak(lab, faults, seed, reconciler, synchronous).run()
