"""The arguments SCOPE and PREFIX, alike in every command, with the shell's completion for
them out of the configuration.

Completing must be quick and silent whatever the file is: who presses TAB wants no error, and
no shell that hangs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from pgcast_hooks import config as configuration
from pgcast_hooks.errors import ConfigError
from pgcast_hooks.settings import Cluster

MOST = 1 << 20  # bytes; a larger file is not read at a press of TAB


def complete_scope(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The configured scopes that begin so."""
    return _items(_clusters(ctx), incomplete)


def complete_prefix(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The prefixes of the scope on the line that begin so, but for those that are there."""
    cluster = _clusters(ctx).get(ctx.params.get("scope") or "")
    if cluster is None:
        return []
    there = ctx.params.get("prefixes") or ()
    prefixes = (str(route.prefix) for route in cluster.routes)
    return _items((prefix for prefix in prefixes if prefix not in there), incomplete)


scope = click.argument("scope", shell_complete=complete_scope)
optional_scope = click.argument(
    "scope", metavar="[SCOPE]", required=False, shell_complete=complete_scope
)
prefixes = click.argument(
    "prefixes", metavar="[PREFIX]...", nargs=-1, shell_complete=complete_prefix
)


class _Bash(BashComplete):
    """bash cuts words at every colon and equals sign, and replaces what follows the last one
    only: with click's own class an IPv6 prefix becomes another one."""

    _cut = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        cut, last = super().get_completion_args()
        words: list[str] = []
        glued = False
        for word in [*cut, last]:
            breaks = bool(word) and not word.strip(":=")
            if words and word and (glued or breaks):
                words[-1] += word
            else:
                words.append(word)
            glued = breaks
        incomplete = words.pop()
        self._cut = len(incomplete) - len(last.lstrip(":="))
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._cut :]}"


add_completion_class(_Bash)


def _items(values: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(value) for value in values if value.startswith(incomplete)]


def _clusters(ctx: click.Context) -> dict[str, Cluster]:
    """The clusters of the file that the line, or else the environment, names; none where it
    is no file that can be used."""
    named = ctx.find_root().params.get("path")
    # What the shell would expand when the line is run is still as it was typed.
    path = os.path.expanduser(configuration.path_in_use(named))
    try:
        # Not a FIFO, which would never end, nor what only looks like a configuration.
        if not os.path.isfile(path) or os.path.getsize(path) > MOST:
            return {}
        return configuration.load(path).clusters
    except (ConfigError, OSError):
        return {}
