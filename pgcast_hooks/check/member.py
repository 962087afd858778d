"""What Patroni says on this host: asked side by side, then judged.

Nothing is noted in the state directory: a check is no look that the reconciler may count on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from pgcast_hooks import asking, patroni
from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import Question, RestAnswer
from pgcast_hooks.settings import (
    Cluster,
    OnUnreachable,
    PatroniEndpoint,
    ReconcileSettings,
)

DEFAULT_TTL = 30.0  # seconds, Patroni's own
DEFAULT_PORT = 5432
BEFORE_STOP_SINCE = (3, 0, 3)
PASSING = ("starting", "restarting", "stopping", "creating replica", "initializing")
PASSING_NOTE = "wait, or: patronictl list"


class Asked(NamedTuple):
    """An answer, or why there is none; with the wall clock's reading midway."""

    answer: RestAnswer | None
    reason: str
    at: float


class Look(NamedTuple):
    """All that was asked of one cluster's Patroni, and the other members' clocks."""

    cluster: Cluster
    answers: Mapping[Question, Asked]
    cluster_view: Asked
    settings: Asked
    others: Mapping[str, Asked]

    @property
    def member(self) -> Asked:
        """An answer that describes this member; each has the same body."""
        return next(iter(self.answers.values()))

    @property
    def body(self) -> Mapping[str, Any]:
        return (self.member.answer.body if self.member.answer else None) or {}

    @property
    def about(self) -> Mapping[str, Any]:
        """Patroni's own version, scope and name."""
        about = self.body.get("patroni")
        return about if isinstance(about, dict) else {}

    @property
    def ttl(self) -> float | None:
        """Seconds; None where it is not known."""
        body = self.settings.answer.body if self.settings.answer else None
        if body is None:
            return None
        try:
            return float(body.get("ttl", DEFAULT_TTL))
        except (TypeError, ValueError):
            return None

    @property
    def port(self) -> int:
        """PostgreSQL's, as this member tells the others."""
        for member in _members(self.cluster_view):
            port = str(member.get("port"))
            if member.get("name") == self.about.get("name") and port.isdigit():
                return int(port)
        return DEFAULT_PORT


def look(cluster: Cluster, wall: Callable[[], float], limit: float) -> Look:
    """Ask, in two rounds of `limit` seconds, or of the endpoint's timeout where that is less.

    `wall` reads the wall clock.
    """
    questions = {q for route in cluster.routes for q in route.questions}
    with ThreadPoolExecutor(max_workers=16) as pool:

        def ask(path: str, endpoint: PatroniEndpoint = cluster.patroni) -> Any:
            return pool.submit(_ask, endpoint, path, wall, limit)

        asked = {question: ask(asking.path(question)) for question in questions}
        view, settings = ask("cluster"), ask("config")
        found = Look(
            cluster,
            {question: one.result() for question, one in asked.items()},
            view.result(),
            settings.result(),
            {},
        )
        others = {}
        for member in _members(found.cluster_view)[:8]:
            url = str(member.get("api_url") or "").rpartition("/")[0]
            if url and member.get("name") != found.about.get("name"):
                endpoint = _elsewhere(cluster.patroni, url)
                others[str(member.get("name"))] = ask("patroni", endpoint)
        told = {name: one.result() for name, one in others.items()}
    return found._replace(others=told)


def _elsewhere(endpoint: PatroniEndpoint, url: str) -> PatroniEndpoint:
    """How to ask another member what anybody may ask: no password of this one's is sent
    there, nor its name or socket used."""
    kept = endpoint._asdict()
    allowed = ("timeout", "cafile", "certfile", "keyfile", "verify")
    return PatroniEndpoint(url=url, **{key: kept[key] for key in allowed})


def _ask(
    endpoint: PatroniEndpoint, path: str, wall: Callable[[], float], limit: float
) -> Asked:
    before, start = wall(), time.monotonic()
    try:
        answer: RestAnswer | None = patroni.ask(endpoint, path, limit)
        reason = ""
    except PatroniUnreachable as error:
        answer, reason = None, str(error)
    return Asked(answer, reason, before + (time.monotonic() - start) / 2)


def _members(view: Asked) -> list[Mapping[str, Any]]:
    body = view.answer.body if view.answer else None
    members = (body or {}).get("members")
    return (
        [one for one in members if isinstance(one, dict)]
        if isinstance(members, list)
        else []
    )


def judge(cluster: Cluster, look: Look) -> list[Finding]:
    """Whether this Patroni answers, for the right cluster, and runs PostgreSQL.

    The first that is wrong hides the rest, which could not be believed.
    """
    scope, answer = cluster.scope, look.member.answer
    if answer is None:
        reason = look.member.reason
        if cluster.patroni.url.startswith("https:") and _about_tls(reason):
            keys = "cafile, server_name, certfile, keyfile"
            advice = f"mend the certificates, or clusters.{scope}.patroni.{keys}"
            return [critical("patroni.tls", scope, reason, advice)]
        advice = f"systemctl status patroni; is clusters.{scope}.patroni right?"
        return [critical("patroni.reachable", scope, reason, advice)]
    state = look.body.get("state")
    if not isinstance(state, str):
        text = (
            f"{cluster.patroni.url} gives no answer of Patroni's (HTTP {answer.status})"
        )
        advice = f"let clusters.{scope}.patroni name Patroni's REST API"
        return [critical("patroni.reachable", scope, text, advice)]
    answering = look.about.get("scope")
    if answering != scope:
        text = f"{cluster.patroni.url} answers for scope {json.dumps(answering)}"
        advice = "name that scope under 'clusters', or the URL of this one's Patroni"
        return [critical("patroni.scope", scope, text, advice)]
    found = [ok("patroni.reachable", scope, f"answers at {cluster.patroni.url}")]
    return found + [_judge_state(scope, state), _judge_version(scope, look.about)]


def judge_verified(cluster: Cluster) -> list[Finding]:
    """Whether it is asked who answers over TLS."""
    if cluster.patroni.verify or not cluster.patroni.url.startswith("https:"):
        return []
    text = "verify is false: whoever answers is taken for Patroni"
    advice = f"name the CA as clusters.{cluster.scope}.patroni.cafile instead"
    return [warning("patroni.tls", cluster.scope, text, advice)]


def _about_tls(reason: str) -> bool:
    return any(word in reason for word in ("SSL", "TLS", "certificate", "CERTIFICATE"))


def _judge_state(scope: str, state: str) -> Finding:
    if state == "running":
        return ok("patroni.state", scope, "PostgreSQL is running")
    text = f"Patroni says that PostgreSQL is in state {state}"
    if state.startswith(PASSING) or state == "in archive recovery":
        return warning("patroni.state", scope, text, PASSING_NOTE)
    return critical("patroni.state", scope, text, "PostgreSQL's log; patronictl list")


def version_of(about: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Patroni's version as numbers; None where it says none."""
    parts = str(about.get("version") or "").split(".")
    numbers = tuple(int(part) for part in parts if part.isdigit())
    return numbers if len(numbers) >= 2 else None


def _judge_version(scope: str, about: Mapping[str, Any]) -> Finding:
    said, version = about.get("version"), version_of(about)
    if version is None:
        return unknown(
            "patroni.version", scope, "Patroni tells no version", "patronictl version"
        )
    if version < BEFORE_STOP_SINCE:
        text = (
            f"Patroni {said} has no before_stop: a leader that stops is withdrawn late"
        )
        return warning("patroni.version", scope, text, "install Patroni 3.0.3 or newer")
    return ok("patroni.version", scope, f"Patroni {said}")


def judge_ttl(
    scope: str,
    ttl: float | None,
    settings: ReconcileSettings,
    interval: float | None,
    timeout: float,
) -> Finding:
    """Whether a hung leader has lost its route before another member may lead.

    All in seconds; `interval` is the reconciler's, None where it is not known. `timeout` is
    how long the reconciler waits for a Patroni that hangs.
    """
    if settings.on_unreachable is OnUnreachable.KEEP:
        return ok("patroni.ttl", scope, "on_unreachable is keep: nothing to compare")
    if ttl is None:
        text = "Patroni does not tell its ttl"
        return unknown("patroni.ttl", scope, text, "patronictl show-config")
    grace = settings.unreachable_grace
    takes = grace + (interval or 0.0) + timeout
    sum = f"unreachable_grace {grace:g} s, interval {interval or 0:g} s and patroni.timeout {timeout:g} s"
    if takes >= ttl:
        text = f"{sum} are not less than ttl {ttl:g} s: a hung leader would keep its route for longer"
        advice = "lower reconcile.unreachable_grace or --interval, or raise ttl: patronictl edit-config"
        return critical("patroni.ttl", scope, text, advice)
    return ok("patroni.ttl", scope, f"{sum} are less than ttl {ttl:g} s")
