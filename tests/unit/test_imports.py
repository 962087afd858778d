"""Imports go in one direction only, and the withdraw path stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pgcast_hooks"

ALLOWED = {
    "model": set(),
    "errors": set(),
    "vip": {"model"},
    "presence": set(),
    "record": set(),
    "who": set(),
    "journal": {"record"},
    "history": {"journal", "model", "record", "who"},
    "state": {"errors", "model", "record"},
    "override": {"errors", "model", "record"},
    "document": set(),
    "clusters": {"document", "model"},
    "config": {"clusters", "document", "errors", "model"},
    "policy": {"errors", "model"},
    "neighbors": {"model"},
    "exabgp": {"errors", "model", "neighbors"},
    "pipe": {"errors"},
    "patroni": {"errors", "model"},
    "observe": {"errors", "model", "patroni", "policy", "state", "vip"},
    "witness": {"exabgp", "model"},
    "account": {"history", "model"},
    "apply": {
        "account",
        "errors",
        "exabgp",
        "history",
        "model",
        "override",
        "pipe",
        "policy",
        "state",
        "witness",
    },
    "confirm": {"apply", "errors", "model", "observe"},
    "callback": {"apply", "config", "confirm", "errors", "model", "policy"},
    "reconcile": {
        "account",
        "apply",
        "errors",
        "model",
        "observe",
        "policy",
        "presence",
        "witness",
    },
    "metrics": {"model", "neighbors"},
    "textfile": set(),
    "exporter": {
        "apply",
        "errors",
        "exabgp",
        "metrics",
        "model",
        "textfile",
        "witness",
    },
    "check": {
        "check.callbacks",
        "check.facts",
        "check.finding",
        "check.range",
        "check.standing",
        "check.verdict",
        "config",
        "errors",
    },
    "check.access": {"check.finding"},
    "check.callbacks": {"check.finding", "check.settings"},
    "check.clock": {"check.finding", "model"},
    "check.bystander": {"apply", "model", "pipe", "record", "state"},
    "check.facts": {
        "apply",
        "check.access",
        "check.bystander",
        "check.callbacks",
        "check.clock",
        "check.member",
        "check.network",
        "check.process",
        "check.settings",
        "check.standing",
        "check.user",
        "errors",
        "exabgp",
        "model",
        "state",
    },
    "check.finding": set(),
    "check.host": {"check.finding", "check.network"},
    "check.member": {"check.finding", "errors", "model", "patroni"},
    "check.network": {"model", "vip"},
    "check.plugin": {"check.finding", "check.range"},
    "check.process": {"check.user"},
    "check.range": set(),
    "check.settings": {"check.process", "document"},
    "check.speaker": {"check.finding", "model", "neighbors"},
    "check.standing": {"check.finding", "check.range", "errors", "model", "policy"},
    "check.user": set(),
    "check.verdict": {
        "check.access",
        "check.callbacks",
        "check.clock",
        "check.facts",
        "check.finding",
        "check.host",
        "check.member",
        "check.range",
        "check.settings",
        "check.speaker",
        "check.standing",
        "errors",
        "exabgp",
        "model",
        "neighbors",
        "policy",
    },
    "cli.check": {
        "check",
        "check.finding",
        "check.plugin",
        "check.range",
        "cli.group",
        "errors",
    },
    "cli": {
        "cli.check",
        "cli.group",
        "cli.history",
        "cli.orders",
        "cli.reconciler",
        "cli.settings",
        "cli.show",
    },
    "cli.duration": set(),
    "cli.history": {
        "cli.duration",
        "cli.group",
        "config",
        "errors",
        "history",
        "model",
    },
    "cli.group": {"config", "errors", "model"},
    "cli.table": set(),
    "cli.orders": {
        "apply",
        "cli.duration",
        "cli.group",
        "config",
        "confirm",
        "errors",
        "model",
        "observe",
        "policy",
        "reconcile",
        "who",
    },
    "cli.reconciler": {
        "apply",
        "cli.group",
        "config",
        "document",
        "errors",
        "exporter",
        "metrics",
        "model",
        "reconcile",
        "textfile",
        "witness",
    },
    "cli.settings": {"cli.group", "config", "errors"},
    "cli.show": {"apply", "cli.group", "cli.table", "config", "model"},
}
FOREIGN = {
    "click": {
        "cli.duration",
        "cli.check",
        "cli.group",
        "cli.history",
        "cli.orders",
        "cli.reconciler",
        "cli.settings",
        "cli.show",
    },
    "requests": {"patroni"},
    "yaml": {"document", "cli.settings"},
    "socket": {"vip", "check.clock", "check.network"},
    "prometheus_client": {"metrics"},
}


def name_of(path: Path) -> str:
    """A module's name within the package: `policy`, `cli`, `cli.show`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).replace(
        ".__init__", ""
    )


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imported(module: str) -> set[str]:
    """Every name that a module imports, ours as `pgcast_hooks.x`, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = {f"pgcast_hooks.{name}" for name in MODULES}
            names |= inside & ours or {node.module}
    return names


def test_every_module_is_in_the_table() -> None:
    """A new module must find its place before it lands."""
    assert set(MODULES) - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("module", ALLOWED)
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    """One straight line from argv to pipe, with no way back."""
    prefix = "pgcast_hooks."
    ours = {name[len(prefix) :] for name in imported(module) if name.startswith(prefix)}
    assert ours <= ALLOWED[module]


@pytest.mark.parametrize(("library", "importers"), FOREIGN.items())
def test_a_library_has_its_place(library: str, importers: set[str]) -> None:
    """What speaks HTTP, click, YAML or sockets is one module each."""
    found = {
        m
        for m in ALLOWED
        if library in {name.partition(".")[0] for name in imported(m)}
    }
    assert found == importers


def test_a_withdrawal_loads_nothing_heavy() -> None:
    """A process start is most of a withdrawal's time; each of these costs a good part
    of one."""
    heavy = "click requests logging dataclasses inspect argparse socket ssl http json difflib"
    code = f"import sys, pgcast_hooks.callback; print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert result.stdout.split() == []


WALL_CLOCK = {
    "check.clock": "it is compared with those of other hosts",
    "history": "people read when it was, and nothing is decided by it",
    "override": "an order ends at a time, across reboots",
}


def test_nothing_is_decided_by_the_clock_on_the_wall() -> None:
    """An operator or NTP may set it back: grace and deadlines count on clocks that only go on.

    Only what people are to read may look at it.
    """
    readers = {
        module
        for module, path in MODULES.items()
        if re.search(r"time\.time\(|datetime|CLOCK_REALTIME", path.read_text())
    }
    assert readers == set(WALL_CLOCK)
