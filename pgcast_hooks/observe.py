"""One look at what Patroni says, of one role or of all side by side, and what follows.

No answer is an observation too: `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from pgcast_hooks import patroni, policy, vip
from pgcast_hooks.errors import FenceExhausted, PatroniUnreachable
from pgcast_hooks.model import (
    Announcement,
    Cluster,
    Eligibility,
    Observation,
    Role,
    Route,
)
from pgcast_hooks.state import State

AT_ONCE = 32  # questions under way; a hung Patroni takes one place for its timeout


def look(cluster: Cluster, role: Role, limit: float) -> Observation:
    """Ask once, within `limit` seconds, and leave no trace of it.

    For those who only want to see: an answer that nobody acts on must not lengthen the grace.
    """
    try:
        answer = patroni.ask(cluster.patroni, role.value, limit)
    except PatroniUnreachable as error:
        return Observation(Eligibility.UNKNOWN, str(error))
    return policy.judge(answer, cluster.scope, role)


def observe(cluster: Cluster, role: Role, state: State, limit: float) -> Observation:
    """Ask once, within `limit` seconds, and note in the state that an answer was known."""
    observation = look(cluster, role, limit)
    if observation.eligibility is not Eligibility.UNKNOWN:
        state.note_known(cluster.scope, role)
    return observation


def observe_all(
    clusters: Iterable[Cluster], state: State
) -> dict[tuple[str, Role], Observation]:
    """Ask for every role that a route of the clusters needs, one hung Patroni delaying no other."""
    wanted = {
        (cluster.scope, route.role): cluster
        for cluster in clusters
        for route in cluster.routes
    }
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        looks = {
            (scope, role): pool.submit(
                observe, cluster, role, state, cluster.patroni.timeout
            )
            for (scope, role), cluster in wanted.items()
        }
        return {key: look.result() for key, look in looks.items()}


def wanted(route: Route, observation: Observation) -> tuple[Announcement | None, str]:
    """What must stand of a route after an answer that is known, and why."""
    reason = observation.reason
    if observation.eligibility is not Eligibility.ELIGIBLE:
        return None, reason
    carried = vip.carried(route.vip)
    if not carried:
        reason = f"{reason}, but {route.vip} is on no interface of this host"
    try:
        return policy.desired(route, observation, carried), reason
    except FenceExhausted as error:
        return None, str(error)
