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
        patroni: http://127.0.0.1:8008   # or a mapping: url, timeout (1.0), cafile, certfile, keyfile
        routes:
          - prefix: 192.0.2.10/32
            role: primary
            vip: 192.0.2.10      # default: the prefix's only address
            next_hop: self       # or an address
            fence: med           # or local-preference, none, or a mapping: attribute, base
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pgcast_hooks.document import Reader, read
from pgcast_hooks.errors import ConfigError
from pgcast_hooks.model import (
    Address,
    CallbackSettings,
    Cluster,
    Config,
    ExabgpSettings,
    Fence,
    FenceAttribute,
    OnUnreachable,
    PatroniEndpoint,
    Prefix,
    ReconcileSettings,
    Role,
    Route,
)

DEFAULT_PATH = "/etc/pgcast/pgcast.yml"
DEFAULT_STATE_DIR = "/var/lib/pgcast"
DEFAULT_FENCE_BASE = {
    FenceAttribute.MED: 100_000,
    FenceAttribute.LOCAL_PREFERENCE: 100,
    FenceAttribute.NONE: 0,
}
MAX_BASE = (
    2**32 - 1
)  # MED and LOCAL_PREF are four octets, RFC 4271 sections 4.3 and 5.1
MIN_MED_BASE = 1000
MAX_PIPE_SECONDS = 10.0  # twice this is less than a stop of Patroni may take (30 s)
MAX_PORT = 65535
URL = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>\d{1,5}))?(/[^\s?#]*)?"
)


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
        clusters=_clusters(reader, top.get("clusters")),
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
        for key in ("cafile", "certfile", "keyfile"):
            path = getattr(cluster.patroni, key)
            if path and not os.access(path, os.R_OK):
                where = f"clusters.{scope}.patroni.{key}"
                found.append(f"{where}: {path} cannot be read by this user")
    return found


def effective(config: Config) -> dict[str, Any]:
    """The configuration as a document that `parse` takes back, every default written
    out."""
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
                "patroni": _without_none(cluster.patroni._asdict()),
                "routes": [
                    {
                        "prefix": str(route.prefix),
                        "role": route.role.value,
                        "vip": str(route.vip),
                        "next_hop": str(route.next_hop or "self"),
                        "fence": {
                            "attribute": route.fence.attribute.value,
                            "base": route.fence.base,
                        },
                    }
                    for route in cluster.routes
                ],
            }
            for scope, cluster in config.clusters.items()
        },
    }


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _clusters(reader: Reader, value: Any) -> dict[str, Cluster]:
    if not isinstance(value, dict) or not value:
        reader.wrong("clusters", "must name at least one cluster, by its Patroni scope")
        return {}
    taken: dict[Prefix, str] = {}
    clusters = {}
    for scope, body in value.items():
        where = f"clusters.{scope}"
        if not isinstance(scope, str):
            reader.wrong(
                where, f"the scope must be text: write it in quotes, '{scope}'"
            )
        elif not scope or not scope.isprintable():
            reader.wrong(
                f"clusters.{scope!r}",
                "the scope is empty or has characters that do not print",
            )
        section = reader.mapping(body, where, ("patroni", "routes"))
        endpoint = _endpoint(reader, section.get("patroni"), f"{where}.patroni")
        listed = section.get("routes")
        if not isinstance(listed, list) or not listed:
            reader.wrong(f"{where}.routes", "must be a list of at least one route")
            listed = []
        routes = (
            _route(reader, entry, f"{where}.routes[{index}]", taken)
            for index, entry in enumerate(listed)
        )
        clusters[str(scope)] = Cluster(
            str(scope), endpoint, tuple(route for route in routes if route)
        )
    return clusters


def _endpoint(reader: Reader, value: Any, where: str) -> PatroniEndpoint:
    section = {"url": value} if isinstance(value, str) else value
    section = reader.mapping(
        section, where, ("url", "timeout", "cafile", "certfile", "keyfile")
    )
    url = section.get("url")
    match = URL.fullmatch(url) if isinstance(url, str) and url.isprintable() else None
    if match is None or int(match["port"] or 0) > MAX_PORT:
        reader.wrong(
            f"{where}.url",
            f"{url!r} is not an http:// or https:// address such as http://127.0.0.1:8008",
        )
    if section.get("keyfile") is not None and section.get("certfile") is None:
        reader.wrong(f"{where}.keyfile", "needs 'certfile' beside it")
    return PatroniEndpoint(
        url=str(url).rstrip("/"),
        timeout=reader.seconds(section, "timeout", where, 1.0),
        cafile=reader.path(section, "cafile", where, None),
        certfile=reader.path(section, "certfile", where, None),
        keyfile=reader.path(section, "keyfile", where, None),
    )


def _route(
    reader: Reader, value: Any, where: str, taken: dict[Prefix, str]
) -> Route | None:
    section = reader.mapping(
        value, where, ("prefix", "role", "vip", "next_hop", "fence")
    )
    role = reader.word(
        section.get("role"), f"{where}.role", [role.value for role in Role]
    )
    fence = _fence(
        reader, section.get("fence", FenceAttribute.MED.value), f"{where}.fence"
    )
    next_hop = section.get("next_hop", "self")
    hop = (
        None
        if next_hop == "self"
        else reader.parsed(
            next_hop, f"{where}.next_hop", ipaddress.ip_address, "address"
        )
    )
    prefix: Prefix | None
    prefix = reader.parsed(
        section.get("prefix"), f"{where}.prefix", ipaddress.ip_network, "prefix"
    )
    if prefix is None:
        return None
    vip: Address | None = prefix.network_address
    if "vip" in section:
        vip = reader.parsed(
            section["vip"], f"{where}.vip", ipaddress.ip_address, "address"
        )
        if vip is not None and vip not in prefix:
            reader.wrong(f"{where}.vip", f"{vip} is not in {prefix}")
    elif prefix.num_addresses > 1:
        reader.wrong(
            f"{where}.vip", f"must name the address of {prefix} that PostgreSQL serves"
        )
    if prefix.prefixlen == 0:
        reader.wrong(f"{where}.prefix", f"{prefix} is the default route, not a service")
    if hop is not None and hop.version != prefix.version:
        reader.wrong(
            f"{where}.next_hop", f"{hop} is not an IPv{prefix.version} address"
        )
    if prefix in taken:
        reader.wrong(f"{where}.prefix", f"{prefix} is already named at {taken[prefix]}")
    taken[prefix] = f"{where}.prefix"
    return Route(prefix, Role(role), vip, hop, fence) if role and vip else None


def _fence(reader: Reader, value: Any, where: str) -> Fence:
    section = reader.mapping(
        {"attribute": value} if isinstance(value, str) else value,
        where,
        ("attribute", "base"),
    )
    word = section.get("attribute", FenceAttribute.MED.value)
    attribute = FenceAttribute(
        reader.word(
            word, f"{where}.attribute", [known.value for known in FenceAttribute]
        )
        or FenceAttribute.NONE.value
    )
    base = section.get("base", DEFAULT_FENCE_BASE[attribute])
    whole = isinstance(base, int) and not isinstance(base, bool)
    if not whole or not 0 <= base <= MAX_BASE:
        reader.wrong(
            f"{where}.base", f"{base!r} is not a whole number from 0 to {MAX_BASE}"
        )
    elif attribute is FenceAttribute.MED and base < MIN_MED_BASE:
        reader.wrong(
            f"{where}.base",
            f"must be at least {MIN_MED_BASE}: the timeline, which each failover"
            " raises, is taken from it",
        )
    return Fence(attribute, base if whole else 0)
