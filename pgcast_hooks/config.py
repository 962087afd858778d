"""The configuration file: YAML to `Config`, with every mistake reported at once.

`parse` is pure, `load` reads the file, `effective` is the way back, defaults filled in.
Nothing of it reaches a pipe or a network. The file, with every key and its default
(times in seconds)::

    exabgp:
      pipe: /run/exabgp/exabgp   # names exabgp.in and exabgp.out; default: searched where ExaBGP searches
      timeout: 2.0               # one exchange with ExaBGP, read-back included
      lock_timeout: 1.0          # how long to wait for another pgcast to let go of the pipe
    callback:
      deadline: 30.0             # how long a callback waits for Patroni to confirm a role
      poll_interval: 0.025
    reconcile:
      unreachable_grace: 5.0     # how long a route stands while Patroni does not answer
      on_unreachable: withdraw   # or keep: what becomes of it then
    state_dir: /var/lib/pgcast
    clusters:
      main:                      # the Patroni scope
        patroni: http://127.0.0.1:8008   # or a mapping: url, timeout (1.0), and those of `endpoint`
        routes:
          - prefix: 192.0.2.10/32
            role: primary        # and more: see `pgcast_hooks.routes`
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pgcast_hooks import endpoint, routes
from pgcast_hooks.clusters import clusters
from pgcast_hooks.document import Reader, read
from pgcast_hooks.errors import ConfigError
from pgcast_hooks.settings import (
    CallbackSettings,
    Config,
    ExabgpSettings,
    OnUnreachable,
    ReconcileSettings,
)

DEFAULT_PATH = "/etc/pgcast/pgcast.yml"
DEFAULT_STATE_DIR = "/var/lib/pgcast"
MAX_PIPE_SECONDS = 10.0  # twice this is less than a stop of Patroni may take (30 s)


def path_in_use(path: str | None) -> str:
    """The file to read: the one that is named, else PGCAST_CONFIG, else the default."""
    return path or os.environ.get("PGCAST_CONFIG") or DEFAULT_PATH


def load(path: str | None = None) -> Config:
    """Read and check a file.

    Raises ConfigError with every mistake that was found.
    """
    path = path_in_use(path)
    try:
        return parse(*read(path))
    except OSError as error:
        why = [f"cannot be read: {error.strerror}"]
        raise ConfigError(path, why) from error
    except ValueError as error:
        raise ConfigError(path, [str(error)]) from error
    except ConfigError as error:
        raise ConfigError(path, error.problems) from None


def parse(document: Any, problems: Sequence[str] = ()) -> Config:
    """Check a document as YAML gives it; `problems` are those that reading already
    found."""
    reader = Reader(problems)
    top = reader.mapping(
        document, "", ("exabgp", "callback", "reconcile", "state_dir", "clusters")
    )
    exabgp = reader.mapping(
        top.get("exabgp", {}), "exabgp", ("pipe", "timeout", "lock_timeout")
    )
    callback = reader.mapping(
        top.get("callback", {}), "callback", ("deadline", "poll_interval")
    )
    reconcile = reader.mapping(
        top.get("reconcile", {}), "reconcile", ("unreachable_grace", "on_unreachable")
    )
    on_unreachable = reader.word(
        reconcile.get("on_unreachable", OnUnreachable.WITHDRAW.value),
        "reconcile.on_unreachable",
        [known.value for known in OnUnreachable],
    )
    config = Config(
        exabgp=ExabgpSettings(
            pipe=reader.path(exabgp, "pipe", "exabgp", None),
            timeout=reader.seconds(exabgp, "timeout", "exabgp", 2.0, MAX_PIPE_SECONDS),
            lock_timeout=reader.seconds(
                exabgp, "lock_timeout", "exabgp", 1.0, MAX_PIPE_SECONDS
            ),
        ),
        callback=CallbackSettings(
            deadline=reader.seconds(callback, "deadline", "callback", 30.0),
            poll_interval=reader.seconds(callback, "poll_interval", "callback", 0.025),
        ),
        reconcile=ReconcileSettings(
            unreachable_grace=reader.seconds(
                reconcile, "unreachable_grace", "reconcile", 5.0
            ),
            on_unreachable=OnUnreachable(
                on_unreachable or OnUnreachable.WITHDRAW.value
            ),
        ),
        state_dir=reader.path(top, "state_dir", "", DEFAULT_STATE_DIR)
        or DEFAULT_STATE_DIR,
        clusters=clusters(reader, top.get("clusters")),
    )
    if reader.problems:
        raise ConfigError("configuration", reader.problems)
    return config


def missing_files(config: Config) -> list[str]:
    """A line for each file that the configuration names and that cannot be read.

    `load` does not look: a certificate that is gone must not keep a withdrawal from being
    made.
    """
    found = []
    for scope, cluster in config.clusters.items():
        for key, path in endpoint.files(cluster.patroni).items():
            if not os.access(path, os.R_OK):
                where = f"clusters.{scope}.patroni.{key}"
                found.append(f"{where}: {path} cannot be read by this user")
    return found


def effective(config: Config) -> dict[str, Any]:
    """The configuration as a document that `parse` takes back, every default written
    out; passwords and the values of headers are not in it."""
    return {
        "exabgp": _without_none(config.exabgp._asdict()),
        "callback": config.callback._asdict(),
        "reconcile": {
            "unreachable_grace": config.reconcile.unreachable_grace,
            "on_unreachable": config.reconcile.on_unreachable.value,
        },
        "state_dir": config.state_dir,
        "clusters": {
            scope: {
                "patroni": endpoint.effective(cluster.patroni),
                "routes": [routes.effective(route) for route in cluster.routes],
            }
            for scope, cluster in config.clusters.items()
        },
    }


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
