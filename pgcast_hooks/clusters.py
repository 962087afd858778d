"""The part of the configuration that names clusters and their routes: checked, and every
mistake noted with its key's path. Pure, as `pgcast_hooks.config` is, which calls it."""

from __future__ import annotations

from typing import Any

from pgcast_hooks.document import Reader
from pgcast_hooks.endpoint import endpoint
from pgcast_hooks.model import Prefix
from pgcast_hooks.routes import route
from pgcast_hooks.settings import Cluster


def clusters(reader: Reader, value: Any) -> dict[str, Cluster]:
    """The clusters by their scopes; every mistake is noted with the reader."""
    if not isinstance(value, dict) or not value:
        reader.wrong("clusters", "must name at least one cluster, by its Patroni scope")
        return {}
    taken: dict[Prefix, str] = {}
    found = {}
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
        asked = endpoint(reader, section.get("patroni"), f"{where}.patroni")
        listed = section.get("routes")
        if not isinstance(listed, list) or not listed:
            reader.wrong(f"{where}.routes", "must be a list of at least one route")
            listed = []
        routes = (
            route(reader, entry, f"{where}.routes[{index}]", taken)
            for index, entry in enumerate(listed)
        )
        found[str(scope)] = Cluster(
            str(scope), asked, tuple(one for one in routes if one)
        )
    return found
