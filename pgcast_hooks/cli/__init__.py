"""The `pgcast` command: click, wiring and rendering, a module for each kind of command.
Holds no rule.

stdout is data, stderr is log.
"""

from pgcast_hooks.cli import (
    check,
    history,
    orders,
    reconciler,
    settings,
    show,
    status,
)
from pgcast_hooks.cli.group import main

__all__ = [
    "check",
    "history",
    "main",
    "orders",
    "reconciler",
    "settings",
    "show",
    "status",
]
