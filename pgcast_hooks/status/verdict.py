"""Have and want of a whole host: whether all is as it must be.

Pure: `combine` takes what `pgcast_hooks.status` has gathered, and tells what can be told
without the sources that are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgcast_hooks import asking, compare, policy
from pgcast_hooks.exabgp import Answer
from pgcast_hooks.model import (
    Eligibility,
    LastPass,
    Neighbor,
    Observation,
    Order,
    Override,
    Prefix,
    RibEntry,
    Route,
)
from pgcast_hooks.neighbors import ESTABLISHED
from pgcast_hooks.settings import Cluster, Config, OnUnreachable, ReconcileSettings
from pgcast_hooks.status.picture import (
    ClusterStatus,
    Level,
    Must,
    NeighborStatus,
    ReconcilerStatus,
    RouteStatus,
    Seen,
    Silence,
    Status,
    Wanted,
)

OBEYED = {Order.ANNOUNCE: Must.ANNOUNCED, Order.WITHDRAW: Must.WITHDRAWN}
LATE = 10.0  # seconds beyond three intervals after which a loop's pass is overdue


def combine(
    config: Config, chosen: Iterable[Cluster], name: str, pipe: str, seen: Seen
) -> Status:
    """The status of the `chosen` clusters and of the host `name` out of what was seen."""
    managed = {r.prefix for c in config.clusters.values() for r in c.routes}
    answer = None if isinstance(seen.exabgp, Silence) else seen.exabgp
    entries = answer.adj_rib_out if answer else ()
    standing = [override for override in seen.overrides.values() if override]
    return Status(
        name=name,
        pipe=pipe,
        exabgp=_version(seen.exabgp),
        neighbors=tuple(map(_neighbor, answer.neighbors)) if answer else (),
        reconciler=_reconciler(seen.reconciler, seen.last_pass),
        maintenance=next((o for o in standing if o.whole_host), None),
        state_dir=config.state_dir,
        troubles=seen.troubles,
        clusters=tuple(_cluster(c, config.reconcile, answer, seen) for c in chosen),
        foreign=tuple(entry for entry in entries if entry.prefix not in managed),
    )


def wanted(
    route: Route,
    observation: Observation,
    carried: bool,
    since: float | None,
    override: Override | None,
    settings: ReconcileSettings,
) -> Wanted:
    """What must stand of a route, by the rule that everybody follows; `since`: seconds since
    Patroni's last answer, None where there was none."""
    over = policy.expired(since, settings)
    decision = policy.decide(route, observation, override, carried, over)
    why = decision.reason
    must = Must.ANNOUNCED if decision.must else Must.WITHDRAWN
    if override and override.order in OBEYED:
        obeyed = OBEYED[override.order] is must  # else the VIP is missing
        return Wanted(must, decision.must, _ordered(override) if obeyed else why)
    if observation.eligibility is not Eligibility.UNKNOWN:
        must = must if decision.acts else Must.AS_IT_STANDS
        return Wanted(must, decision.must, why)
    keep = settings.on_unreachable is OnUnreachable.KEEP
    rule = f"unreachable_grace is {settings.unreachable_grace:g} s"
    why = f"Patroni gives no answer, {'on_unreachable is keep' if keep else rule}"
    if over:
        return Wanted(Must.WITHDRAWN, None, why)
    left = None
    if since is not None and not keep:
        left = max(0.0, settings.unreachable_grace - since)
    return Wanted(Must.AS_IT_STANDS, None, why, left)


def _ordered(override: Override) -> str:
    what = "maintenance of the host" if override.whole_host else "an order"
    return f"{what} says so"


def _cluster(
    cluster: Cluster, settings: ReconcileSettings, answer: Answer | None, seen: Seen
) -> ClusterStatus:
    local, members = seen.local[cluster.scope], seen.members[cluster.scope]
    unknown = dict.fromkeys(
        observation.reason
        for observation in (_seen(cluster.scope, r, seen) for r in cluster.routes)
        if observation.eligibility is Eligibility.UNKNOWN
    )
    others = [source.why for source in (local, members) if isinstance(source, Silence)]
    silences = (*(unknown or dict.fromkeys(others)),)
    return ClusterStatus(
        scope=cluster.scope,
        url=cluster.patroni.url,
        local=local,
        members=members,
        silences=silences,
        routes=tuple(
            _route(cluster.scope, route, settings, answer, seen)
            for route in cluster.routes
        ),
        level=Level.UNKNOWN if silences else Level.GOOD,
    )


def _seen(scope: str, route: Route, seen: Seen) -> Observation:
    """What decides about a route of all that Patroni was asked."""
    answers = {q: seen.observations[scope, q] for q in route.questions}
    return asking.earned(route, answers)


def _route(
    scope: str,
    route: Route,
    settings: ReconcileSettings,
    answer: Answer | None,
    seen: Seen,
) -> RouteStatus:
    observation = _seen(scope, route, seen)
    since = seen.since_known[scope, observation.question]
    known = observation.eligibility is not Eligibility.UNKNOWN
    override = seen.overrides[route.prefix]
    carried = seen.carried[route.prefix]
    must = wanted(route, observation, carried, since, override, settings)
    entries = answer.adj_rib_out if answer else ()
    standing = tuple(entry for entry in entries if entry.prefix == route.prefix)
    wrong = _differences(route.prefix, must, standing) if answer else ()
    up = {n.address: n.state == ESTABLISHED for n in answer.neighbors} if answer else {}
    unsent = tuple(e.neighbor for e in standing if not up.get(e.neighbor, True))
    nobody = must.must is Must.ANNOUNCED and len(unsent) == len(standing) > 0
    order = override.order if override else None
    earned = observation.eligibility is Eligibility.ELIGIBLE
    in_vain = (  # earned or ordered, but the VIP is missing or the fence has no MED left
        must.must is Must.WITHDRAWN
        and (earned or order is Order.ANNOUNCE)
        and order is not Order.WITHDRAW
    )
    if wrong or nobody or in_vain:
        level = Level.WRONG
    elif answer is None or must.must is Must.AS_IT_STANDS:
        level = Level.UNKNOWN
    else:
        level = Level.GOOD
    return RouteStatus(
        route=route,
        observation=observation,
        age=0.0 if known else since,
        override=override,
        wanted=must,
        standing=standing if answer else None,
        differences=wrong,
        unsent=unsent,
        last_change=seen.last_changes.get(route.prefix),
        level=level,
    )


def _differences(
    prefix: Prefix, must: Wanted, standing: Sequence[RibEntry]
) -> tuple[str, ...]:
    if must.must is Must.AS_IT_STANDS:
        return ()
    return tuple(
        compare.differences({prefix: must.announcement}, standing).get(prefix, ())
    )


def _version(answer: Answer | Silence) -> str | Silence:
    return answer if isinstance(answer, Silence) else answer.version or "unknown"


def _neighbor(neighbor: Neighbor) -> NeighborStatus:
    if neighbor.state == ESTABLISHED:
        return NeighborStatus(neighbor, Level.GOOD)
    unknown = neighbor.state == "unknown"
    return NeighborStatus(neighbor, Level.UNKNOWN if unknown else Level.WRONG)


def _reconciler(process: str | None, last: LastPass | None) -> ReconcilerStatus:
    """A loop that is gone, or makes no pass, is wrong; that none was ever there is somebody's
    choice."""
    overdue = False
    if last and last.interval is not None:
        overdue = process is None or last.ago > 3 * last.interval + LATE
    level = Level.UNKNOWN if last and last.trouble else Level.GOOD
    if overdue:
        level = Level.WRONG
    return ReconcilerStatus(process, last, overdue, level)
