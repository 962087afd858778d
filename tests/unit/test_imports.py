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
    "state": {"errors", "model", "record"},
    "override": {"model"},
    "history": {"model"},
    "document": set(),
    "config": {"document", "errors", "model"},
    "policy": {"errors", "model"},
    "neighbors": {"model"},
    "exabgp": {"errors", "model", "neighbors"},
    "pipe": {"errors"},
    "patroni": {"errors", "model"},
    "observe": {"errors", "model", "patroni", "policy", "state", "vip"},
    "apply": {"errors", "exabgp", "model", "override", "pipe", "policy", "state"},
    "confirm": {"apply", "errors", "model", "observe"},
    "callback": {"apply", "config", "confirm", "errors", "model", "policy"},
    "member": {"model"},
    "picture": {"exabgp", "member", "model"},
    "verdict": {"exabgp", "model", "neighbors", "picture", "policy"},
    "status": {
        "apply",
        "errors",
        "history",
        "member",
        "model",
        "observe",
        "patroni",
        "picture",
        "verdict",
    },
    "reconcile": {"apply", "errors", "model", "observe", "policy", "presence"},
    "cli": {
        "cli.group",
        "cli.orders",
        "cli.reconciler",
        "cli.settings",
        "cli.show",
        "cli.status",
    },
    "cli.group": {"config", "errors", "model"},
    "cli.table": set(),
    "cli.arguments": {"config", "errors", "model"},
    "cli.words": set(),
    "cli.layout": {"picture"},
    "cli.drawing_host": {"cli.layout", "cli.words", "model", "picture"},
    "cli.drawing": {
        "cli.drawing_host",
        "cli.layout",
        "cli.words",
        "member",
        "model",
        "picture",
    },
    "cli.status_json": {"member", "model", "picture"},
    "cli.status": {
        "cli.arguments",
        "cli.drawing",
        "cli.group",
        "cli.layout",
        "cli.status_json",
        "cli.words",
        "config",
        "document",
        "errors",
        "model",
        "picture",
        "status",
    },
    "cli.orders": {
        "apply",
        "cli.arguments",
        "cli.group",
        "config",
        "confirm",
        "document",
    },
    "cli.reconciler": {
        "apply",
        "cli.group",
        "config",
        "document",
        "errors",
        "reconcile",
    },
    "cli.settings": {"cli.group", "config", "errors"},
    "cli.show": {"apply", "cli.group", "cli.table", "config", "model"},
}
FOREIGN = {
    "click": {
        "cli.arguments",
        "cli.layout",
        "cli.status",
        "cli.group",
        "cli.orders",
        "cli.reconciler",
        "cli.settings",
        "cli.show",
    },
    "requests": {"patroni"},
    "yaml": {"document", "cli.settings"},
    "socket": {"vip"},
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


def test_nothing_is_decided_by_the_clock_on_the_wall() -> None:
    """An operator or NTP may set it back: grace and deadlines count on clocks that only go on."""
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(
            r"time\.time\(|datetime|CLOCK_REALTIME", path.read_text()
        ), path
