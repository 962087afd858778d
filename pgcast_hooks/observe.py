"""One look at what Patroni says, of one role or of all side by side, and what follows.

No answer is an observation too: `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from pgcast_hooks import asking, patroni, policy, vip
from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import (
    Decision,
    Eligibility,
    Observation,
    Override,
    Question,
    Role,
    Route,
)
from pgcast_hooks.settings import Cluster
from pgcast_hooks.state import State

AT_ONCE = 32  # questions under way; a hung Patroni takes one place for its timeout


def look(cluster: Cluster, question: Question, limit: float) -> Observation:
    """Ask once, within `limit` seconds, and leave no trace of it.

    For those who only want to see: an answer that nobody acts on must not lengthen the grace.
    """
    try:
        answer = patroni.ask(cluster.patroni, asking.path(question), limit)
    except PatroniUnreachable as error:
        return Observation(Eligibility.UNKNOWN, str(error), question=question)
    return asking.judge(answer, cluster.scope, question)


def observe(
    cluster: Cluster, question: Question, state: State, limit: float
) -> Observation:
    """Ask once, within `limit` seconds, and note in the state that an answer was known."""
    observation = look(cluster, question, limit)
    if observation.eligibility is not Eligibility.UNKNOWN:
        state.note_known(cluster.scope, asking.path(question))
    return observation


def observe_routes(
    cluster: Cluster, routes: Iterable[Route], state: State, limit: float
) -> dict[Question, Observation]:
    """Ask all that decides about routes of one cluster, side by side, within `limit` seconds."""
    (*questions,) = dict.fromkeys(q for route in routes for q in route.questions)
    if len(questions) == 1:  # no thread for the most common case
        return {questions[0]: observe(cluster, questions[0], state, limit)}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = pool.map(lambda q: observe(cluster, q, state, limit), questions)
        return dict(zip(questions, answers))


def observe_all(
    clusters: Iterable[Cluster], state: State
) -> dict[tuple[str, Question], Observation]:
    """Ask all that decides about the routes of the clusters, one hung Patroni delaying no other."""
    wanted = {
        (cluster.scope, question): cluster
        for cluster in clusters
        for route in cluster.routes
        for question in route.questions
    }
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        looks = {
            (scope, question): pool.submit(
                observe, cluster, question, state, cluster.patroni.timeout
            )
            for (scope, question), cluster in wanted.items()
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


# The words for members in Patroni's /cluster that have a role; for the others it names none.
CLUSTER_ROLES = {
    Role.PRIMARY: ("leader",),
    Role.STANDBY_LEADER: ("standby_leader",),
    Role.LEADER: ("leader", "standby_leader"),
    Role.REPLICA: ("replica", "sync_standby", "quorum_standby"),
    Role.SYNC: ("sync_standby",),
    Role.QUORUM: ("quorum_standby",),
    Role.ASYNC: ("replica",),
}


def earner(cluster: Cluster, role: Role) -> str:
    """Which members earn a role, in words, as Patroni's /cluster has it."""
    titles = CLUSTER_ROLES.get(role, ())
    title = titles[0].replace("_", " ") if titles else role.value
    try:
        answer = patroni.ask(cluster.patroni, "cluster", cluster.patroni.timeout)
    except PatroniUnreachable:
        return f"Patroni names no {title}"
    members = (answer.body or {}).get("members")
    found = [
        str(member.get("name"))
        for member in (members if isinstance(members, list) else [])
        if isinstance(member, dict) and member.get("role") in titles
    ]
    return (
        f"the {title} is {', '.join(found)}" if found else f"Patroni names no {title}"
    )
