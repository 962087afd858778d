"""The configuration, as types: what an operator decides once. Everything here is immutable."""

from __future__ import annotations

import enum
from typing import NamedTuple

from pgcast_hooks.model import Route

REDACTED = "***"


class Secret(str):
    """A text that shows itself to nobody who does not ask for it: not in a `repr`, and YAML
    refuses to write it."""

    def __repr__(self) -> str:
        return repr(REDACTED)


class PatroniEndpoint(NamedTuple):
    """Where Patroni's REST API is, and how to speak to it. `timeout` is in seconds, for
    one request in all."""

    url: str
    timeout: float
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: bool = True  # False: whoever answers over TLS is taken for Patroni
    server_name: str | None = None  # in the certificate; None: the URL's host
    username: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    headers: tuple[tuple[str, Secret], ...] = ()
    unix_socket: str | None = None  # where to connect, instead of the URL's host


class Cluster(NamedTuple):
    """One Patroni cluster as seen from this host."""

    scope: str
    patroni: PatroniEndpoint
    routes: tuple[Route, ...]


class ExabgpSettings(NamedTuple):
    """Where ExaBGP's named pipe is (None: search) and how long to wait for it, in
    seconds."""

    pipe: str | None
    timeout: float
    lock_timeout: float


class CallbackSettings(NamedTuple):
    """How long a callback waits for Patroni to confirm a role, and how often it looks,
    in seconds."""

    deadline: float
    poll_interval: float


class OnUnreachable(enum.Enum):
    """What becomes of a route when Patroni has not been heard of for the grace."""

    WITHDRAW = "withdraw"
    KEEP = "keep"


class ReconcileSettings(NamedTuple):
    """What the reconciler does about a Patroni that does not answer; in seconds."""

    unreachable_grace: float
    on_unreachable: OnUnreachable


class Config(NamedTuple):
    """The whole configuration, checked."""

    exabgp: ExabgpSettings
    callback: CallbackSettings
    reconcile: ReconcileSettings
    state_dir: str
    clusters: dict[str, Cluster]
