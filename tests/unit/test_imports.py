"""Imports go in one direction only, and the withdraw path stays light."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pgcast_hooks"

# What each module, or package of modules, may import of ours.
TABLE = """
model:
settings: model
errors:
vip: model
presence:
record:
lastpass: model record
who:
journal: record
eventline: model who
history: eventline journal model record
account: eventline history model
state: errors lastpass model record
timekeeping:
override: errors model record timekeeping
document:
endpoint: document settings
clusters: document endpoint model routes settings
config: clusters document endpoint errors routes settings
grammar: errors model
policy: errors grammar model settings
asking: model policy
compare: model
attributes: document grammar model policy
routes: attributes document model policy
neighbors: model
exabgp: errors grammar model neighbors
pipe: errors
hands: account history model override pipe settings state
tls: settings
patroni: errors model settings tls
observe: asking errors model patroni policy settings state vip
witness: exabgp model
apply: compare errors exabgp grammar hands model witness
bystander: hands pipe record settings state
confirm: apply asking errors hands model observe policy settings
callback: apply config confirm errors hands model policy settings
reconcile: account apply asking errors hands lastpass model observe policy settings witness
loop: account apply errors hands presence reconcile settings witness
metrics: model neighbors
textfile:
exporter: errors exabgp hands metrics model settings textfile witness
check: apply asking bystander compare config document endpoint errors exabgp hands model neighbors
    patroni policy settings timekeeping vip
status: apply asking bystander compare errors exabgp hands model neighbors observe patroni policy
    settings vip
cli: apply asking check config confirm document errors eventline exporter hands history loop metrics model
    observe policy reconcile settings status textfile who witness
"""
ALLOWED = {
    module: set(others.split())
    for module, others in re.findall(r"^(\w+):(.*(?:\n +.*)*)", TABLE, re.MULTILINE)
}
# Who may import a library: modules, or a package for all of its own.
FOREIGN = {
    "click": {"cli"},
    "requests": {"tls"},
    "urllib3": {"tls"},
    "yaml": {"document", "cli.settings"},
    "socket": {"patroni", "vip", "check.clock", "check.network"},
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


def imported_of_ours(module: str) -> set[str]:
    """The modules of ours that a module imports."""
    prefix = "pgcast_hooks."
    names = {
        name[len(prefix) :] for name in imported(module) if name.startswith(prefix)
    }
    return names - {"__version__"}


def test_every_module_is_in_the_table() -> None:
    """A new module must find its place before it lands."""
    units = {name.partition(".")[0] for name in MODULES}
    assert units - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("module", set(MODULES) - {"__init__"})
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    """One straight line from argv to pipe, with no way back."""
    unit = module.partition(".")[0]
    ours = {name.partition(".")[0] for name in imported_of_ours(module)}
    assert ours - {"__init__", unit} <= ALLOWED[unit]


def test_nothing_is_imported_that_is_not_needed() -> None:
    """The table says no more than what is so."""
    found: dict[str, set[str]] = {unit: set() for unit in ALLOWED}
    for module in set(MODULES) - {"__init__"}:
        unit = module.partition(".")[0]
        ours = {name.partition(".")[0] for name in imported_of_ours(module)}
        found[unit] |= ours - {"__init__", unit}
    assert found == ALLOWED


def test_no_module_leads_back_to_itself() -> None:
    """Within a package neither. Its `__init__` may gather what is in it."""
    graph = {module: imported_of_ours(module) for module in MODULES}
    for module, ours in graph.items():
        parent = module.rpartition(".")[0]
        graph[module] = ours - {parent, module}
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(("library", "importers"), FOREIGN.items())
def test_a_library_has_its_place(library: str, importers: set[str]) -> None:
    """What speaks HTTP, click, YAML or sockets is one module or package each."""
    for module in MODULES:
        names = {name.partition(".")[0] for name in imported(module)}
        places = {module, module.partition(".")[0]}
        assert library not in names or places & importers, module


def test_a_withdrawal_loads_nothing_heavy() -> None:
    """A process start is most of a withdrawal's time; each of these costs a good part
    of one."""
    heavy = "click requests logging dataclasses inspect argparse socket ssl http json difflib ctypes"
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
    "eventline": "people read when it was, and nothing is decided by it",
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
