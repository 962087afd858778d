"""What a pass of the reconciler found, as Prometheus text.

Knows the names of the metrics and nothing of files, ExaBGP or Patroni. The only importer of
`prometheus_client`, which is the optional extra `metrics`: imported only when it is asked for.

What is not known is absent: a NaN would make a sum over several hosts one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pgcast_hooks.model import (
    Eligibility,
    Neighbor,
    Observation,
    Order,
    Override,
    Prefix,
    Question,
    RibEntry,
    Role,
)
from pgcast_hooks.neighbors import ESTABLISHED

CAUSES = ("callback", "reconcile", "operator")  # as in model.Event
ERRORS = ("refused", "failed")  # results of model.Event that are no change
SOURCES = ("exabgp", "patroni", "files")  # what the trouble of a pass is with


class RouteFacts(NamedTuple):
    """One configured route after a pass."""

    scope: str
    prefix: Prefix
    role: Role
    wanted: bool | None  # None: Patroni is not known, what stands, stands
    standing: tuple[RibEntry, ...] | None  # None: ExaBGP gave no answer
    override: Override | None = None


class Facts(NamedTuple):
    """What one pass found. `seconds` is how long it took, `trouble` the `SOURCES` it had
    some with, `counts` how many events there ever were, by cause and result."""

    routes: tuple[RouteFacts, ...]
    observations: Mapping[tuple[str, Question], Observation]
    neighbors: tuple[Neighbor, ...] | None  # None: ExaBGP gave no answer
    counts: Mapping[tuple[str, str], int]
    seconds: float
    trouble: frozenset[str]
    version: str
    exabgp: str | None


class Metric(NamedTuple):
    """A metric's labels and its help; a counter is one whose name ends in `_total`."""

    labels: tuple[str, ...]
    help: str


_ROUTE = ("scope", "prefix", "role")
_CLUSTER = ("scope", "role")
LAST_PASS = "pgcast_last_pass_timestamp_seconds"
METRICS: Mapping[str, Metric] = {
    "pgcast_info": Metric(
        ("version", "exabgp"),
        "Versions of pgcast and ExaBGP; always 1.",
    ),
    "pgcast_route_info": Metric(_ROUTE, "A configured route; always 1."),
    "pgcast_route_wanted": Metric(
        _ROUTE,
        "Whether the route must be announced; absent while Patroni does not say and the grace lasts.",
    ),
    "pgcast_route_announced": Metric(
        _ROUTE,
        "Whether the route stands in Adj-RIB-Out, for any neighbor; absent where ExaBGP gave no answer.",
    ),
    "pgcast_route_sessions": Metric(
        _ROUTE,
        "Established BGP sessions that the route is announced over; absent where ExaBGP gave no answer.",
    ),
    "pgcast_route_med": Metric(
        _ROUTE, "MED in Adj-RIB-Out, the highest; absent where none stands."
    ),
    "pgcast_route_local_preference": Metric(
        _ROUTE,
        "Local-preference in Adj-RIB-Out, the lowest; absent where none stands.",
    ),
    "pgcast_route_override": Metric(
        (*_ROUTE, "order"),
        "Whether an operator's order stands: announce, withdraw, or hold for one that cannot be read.",
    ),
    "pgcast_route_override_start_timestamp_seconds": Metric(
        _ROUTE, "When the standing order was given."
    ),
    "pgcast_route_override_end_timestamp_seconds": Metric(
        _ROUTE,
        "When the standing order expires; absent where it lasts until somebody ends it.",
    ),
    "pgcast_maintenance": Metric((), "Whether the whole host is under maintenance."),
    "pgcast_patroni_known": Metric(
        _CLUSTER, "Whether Patroni on this host gave an answer to trust."
    ),
    "pgcast_patroni_eligible": Metric(
        _CLUSTER,
        "Whether Patroni says that this member has the role and runs; absent where that is not known.",
    ),
    "pgcast_patroni_timeline": Metric(
        _CLUSTER,
        "PostgreSQL's timeline; absent where this member is not known to have the role.",
    ),
    "pgcast_exabgp_up": Metric((), "Whether ExaBGP answered on its pipe."),
    "pgcast_neighbor_up": Metric(
        ("neighbor",), "Whether the BGP session is established."
    ),
    "pgcast_neighbor_hold_time_seconds": Metric(
        ("neighbor",),
        "Hold time: negotiated, or ExaBGP's own while there is no session.",
    ),
    "pgcast_changes_total": Metric(
        ("cause",), "Changes of routes: by a callback, the reconciler or an operator."
    ),
    "pgcast_errors_total": Metric(
        ("cause", "kind"),
        "Changes not made: refused by Patroni or an override, or failed at ExaBGP.",
    ),
    LAST_PASS: Metric((), "When the reconciler's last pass ended."),
    "pgcast_last_pass_duration_seconds": Metric((), "How long the last pass took."),
    "pgcast_last_pass_trouble": Metric(
        ("source",),
        "Whether the last pass had trouble with exabgp, patroni, or pgcast's own files.",
    ),
}


def render(facts: Facts) -> bytes:
    """The facts in Prometheus' text format, with the time of now as the end of the pass."""
    registry = CollectorRegistry()
    registry.register(_Collected(facts))
    last = Gauge(LAST_PASS, METRICS[LAST_PASS].help, registry=registry)
    last.set_to_current_time()
    return generate_latest(registry)


Sample = tuple[str, tuple[str, ...], float]
"""A metric's name, its labels' values in their order, and its value."""


class _Collected(Collector):
    """Facts as families of metrics, those without a sample left out."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, labels, value in _samples(self._facts):
            if name not in families:
                kind = (
                    CounterMetricFamily
                    if name.endswith("_total")
                    else GaugeMetricFamily
                )
                metric = METRICS[name]
                families[name] = kind(name, metric.help, labels=metric.labels)
            families[name].add_metric(labels, value)
        for name in METRICS:
            if name in families:
                yield families[name]


def _samples(facts: Facts) -> Iterator[Sample]:
    yield "pgcast_info", (facts.version, facts.exabgp or ""), 1
    overrides = [route.override for route in facts.routes if route.override]
    for route in facts.routes:
        yield from _route(route, _up(facts.neighbors or ()))
    yield "pgcast_maintenance", (), any(order.whole_host for order in overrides)
    yield from _patroni(facts.observations)
    yield "pgcast_exabgp_up", (), facts.neighbors is not None
    yield from _neighbors(facts.neighbors or ())
    for cause in CAUSES:
        changed = facts.counts.get((cause, "changed"), 0)
        yield "pgcast_changes_total", (cause,), changed
        for kind in ERRORS:
            count = facts.counts.get((cause, kind), 0)
            yield "pgcast_errors_total", (cause, kind), count
    yield "pgcast_last_pass_duration_seconds", (), facts.seconds
    for source in SOURCES:
        yield "pgcast_last_pass_trouble", (source,), source in facts.trouble


def _route(route: RouteFacts, up: Mapping[str, bool]) -> Iterator[Sample]:
    labels = (route.scope, str(route.prefix), route.role.value)
    yield "pgcast_route_info", labels, 1
    if route.wanted is not None:
        yield "pgcast_route_wanted", labels, route.wanted
    if route.standing is not None:
        meds = [entry.med for entry in route.standing if entry.med is not None]
        preferences = [
            entry.local_preference
            for entry in route.standing
            if entry.local_preference is not None
        ]
        to = {entry.neighbor for entry in route.standing}
        yield "pgcast_route_announced", labels, bool(route.standing)
        yield "pgcast_route_sessions", labels, sum(up.get(name, False) for name in to)
        if meds:
            yield "pgcast_route_med", labels, max(meds)
        if preferences:
            yield "pgcast_route_local_preference", labels, min(preferences)
    standing = route.override
    for order in Order:
        stands = standing is not None and standing.order is order
        yield "pgcast_route_override", (*labels, order.value), stands
    if standing and standing.since:
        name = "pgcast_route_override_start_timestamp_seconds"
        yield name, labels, standing.since
    if standing and standing.until is not None:
        name = "pgcast_route_override_end_timestamp_seconds"
        yield name, labels, standing.until


def _patroni(
    observations: Mapping[tuple[str, Question], Observation],
) -> Iterator[Sample]:
    """One sample for each scope and role, though routes may put different limits to a role:
    known where each answer is, eligible where one of them is."""
    by_role: dict[tuple[str, str], list[Observation]] = {}
    for (scope, question), observation in observations.items():
        by_role.setdefault((scope, question.role.value), []).append(observation)
    for labels, seen in by_role.items():
        kinds = {observation.eligibility for observation in seen}
        known = Eligibility.UNKNOWN not in kinds
        yield "pgcast_patroni_known", labels, known
        if known or Eligibility.ELIGIBLE in kinds:
            yield "pgcast_patroni_eligible", labels, Eligibility.ELIGIBLE in kinds
        timelines = [o.timeline for o in seen if o.timeline is not None]
        if timelines:
            yield "pgcast_patroni_timeline", labels, max(timelines)


def _neighbors(neighbors: tuple[Neighbor, ...]) -> Iterator[Sample]:
    """One sample each, though ExaBGP may have two sessions to one address: a metric that
    stands twice in a file makes node_exporter drop all of it."""
    for address, up in _up(neighbors).items():
        yield "pgcast_neighbor_up", (address,), up
    holds: dict[str, int] = {}
    for neighbor in neighbors:
        if neighbor.hold_time is not None:
            longest = max(neighbor.hold_time, holds.get(neighbor.address, 0))
            holds[neighbor.address] = longest
    for address, seconds in holds.items():
        yield "pgcast_neighbor_hold_time_seconds", (address,), seconds


def _up(neighbors: tuple[Neighbor, ...]) -> dict[str, bool]:
    """By address, whether every session to it is established."""
    up: dict[str, bool] = {}
    for neighbor in neighbors:
        established = neighbor.state == ESTABLISHED
        up[neighbor.address] = established and up.get(neighbor.address, True)
    return up
