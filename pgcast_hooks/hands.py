"""This host's hands: what whoever acts reaches ExaBGP and the state directory by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pgcast_hooks.account import Account
from pgcast_hooks.history import History
from pgcast_hooks.model import Prefix
from pgcast_hooks.override import Overrides
from pgcast_hooks.pipe import Pipe, locate
from pgcast_hooks.settings import Config
from pgcast_hooks.state import State


class Host(NamedTuple):
    """This host's hands: ExaBGP's pipe, and what outlives a process."""

    pipe: Pipe
    state: State
    overrides: Overrides
    account: Account
    paths: Mapping[Prefix, str]  # the path identifiers of routes that have one

    def troubles(self) -> list[str]:
        """What could not be read or written since this was asked last, though nothing
        waited for it."""
        found = [file.trouble for file in self.files() if file.trouble]
        for file in self.files():
            file.trouble = None
        return found

    def files(self) -> tuple[State, Overrides, History]:
        """Each with a `trouble`, which is None where there is none."""
        return self.state, self.overrides, self.account.history


def host(config: Config, cause: str = "", trigger: str = "") -> Host:
    """The hands that a configuration names; nothing is opened yet.

    `cause` and `trigger`, as in `model.Event`, are for whoever acts.
    """
    settings = config.exabgp
    base = locate(settings.pipe)
    state = State(config.state_dir, base)
    scopes = {
        route.prefix: cluster.scope
        for cluster in config.clusters.values()
        for route in cluster.routes
    }
    paths = {
        route.prefix: route.path_information
        for cluster in config.clusters.values()
        for route in cluster.routes
        if route.path_information is not None
    }
    return Host(
        Pipe(base, state, settings.timeout, settings.lock_timeout),
        state,
        Overrides(config.state_dir),
        Account(History(config.state_dir), cause, trigger, scopes),
        paths,
    )
