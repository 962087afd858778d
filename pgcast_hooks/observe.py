"""One look at what Patroni says, of one role or of all side by side, and what follows.

No answer is an observation too: `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from pgcast_hooks import patroni, policy, vip
from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import (
    Cluster,
    Decision,
    Eligibility,
    Observation,
    Override,
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


def decide(
    route: Route,
    observation: Observation,
    override: Override | None,
    over: bool = False,
) -> Decision:
    """What becomes of a route, its VIP looked for on this host's interfaces."""
    carried = vip.carried(route.vip)
    return policy.decide(route, observation, override, carried, over)


def earner(cluster: Cluster, role: Role) -> str:
    """Which member earns a role, in words, as Patroni's /cluster has it."""
    title = policy.CLUSTER_ROLES[role]
    try:
        answer = patroni.ask(cluster.patroni, "cluster", cluster.patroni.timeout)
    except PatroniUnreachable:
        return f"Patroni names no {title}"
    members = (answer.body or {}).get("members")
    found = [
        str(member.get("name"))
        for member in (members if isinstance(members, list) else [])
        if isinstance(member, dict) and member.get("role") == title
    ]
    return (
        f"the {title} is {', '.join(found)}" if found else f"Patroni names no {title}"
    )
