"""The `pgcast` command: click, wiring and rendering, a module for each kind of command.
Holds no rule.

stdout is data, stderr is log.
"""

from pgcast_hooks.cli import check, orders, reconciler, settings, show
from pgcast_hooks.cli.group import main

__all__ = ["check", "main", "orders", "reconciler", "settings", "show"]
