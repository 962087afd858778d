"""The `pgcast` command: click, wiring and rendering, a module for each kind of command.
Holds no rule.

stdout is data, stderr is log.
"""

from pgcast_hooks.cli import orders, reconciler, settings, show, status
from pgcast_hooks.cli.group import main

__all__ = ["main", "orders", "reconciler", "settings", "show", "status"]
