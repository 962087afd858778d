"""After each pass, what it found as a file of metrics.

Gathers and hands on: the names are `metrics`' and the file is `textfile`'s. A pass never
fails for it; what goes wrong is `trouble`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from pgcast_hooks import __version__
from pgcast_hooks.errors import NotApplied, PgcastError, Rejected
from pgcast_hooks.exabgp import Answer
from pgcast_hooks.hands import Host
from pgcast_hooks.metrics import Facts, RouteFacts, render
from pgcast_hooks.model import Eligibility, Observation, Question, Route, Want
from pgcast_hooks.settings import Cluster, Config
from pgcast_hooks.textfile import Textfile
from pgcast_hooks.witness import Witness


class Exporter(Witness):
    """Writes the metrics of every pass to `file`."""

    def __init__(self, file: Textfile, config: Config, hands: Host) -> None:
        self._file = file
        self._config = config
        self._hands = hands
        self._begin()

    def _begin(self) -> None:
        self._start = time.monotonic()
        self._observations: Mapping[tuple[str, Question], Observation] = {}
        self._want: Want = {}
        self._answer: Answer | None = None

    def __enter__(self) -> Witness:
        self._begin()
        return self

    def looked(
        self, observations: Mapping[tuple[str, Question], Observation], want: Want
    ) -> None:
        self._observations, self._want = observations, want

    def answered(self, answer: Answer) -> None:
        before = self._answer
        if before:  # the read-back of a change asks for routes only
            answer = answer._replace(neighbors=before.neighbors, version=before.version)
        self._answer = answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, PgcastError):
            return  # a bug, or the end of the process
        if not isinstance(error, (NotApplied, Rejected, type(None))):
            self._answer = None  # what was read before a failure may stand no more
        self._file.put(render(self._facts(failed=error is not None)))
        self.trouble = self._file.trouble

    def _facts(self, failed: bool) -> Facts:
        answer = self._answer
        routes = tuple(
            self._route(cluster, route)
            for cluster in self._config.clusters.values()
            for route in cluster.routes
        )
        counts = self._hands.account.history.counts()
        unknown = any(
            observation.eligibility is Eligibility.UNKNOWN
            for observation in self._observations.values()
        )
        trouble = {
            "exabgp": failed,
            "patroni": unknown,
            "files": any(file.trouble for file in self._hands.files()),
        }
        return Facts(
            routes,
            self._observations,
            answer.neighbors if answer else None,
            counts,
            time.monotonic() - self._start,
            frozenset(source for source, there in trouble.items() if there),
            __version__,
            answer.version if answer else None,
        )

    def _route(self, cluster: Cluster, route: Route) -> RouteFacts:
        """What the pass found of one route."""
        prefix, answer = route.prefix, self._answer
        wanted = self._want[prefix] is not None if prefix in self._want else None
        standing = answer and tuple(
            entry for entry in answer.adj_rib_out if entry.prefix == prefix
        )
        override = self._hands.overrides.standing(prefix)
        return RouteFacts(cluster.scope, prefix, route.role, wanted, standing, override)
