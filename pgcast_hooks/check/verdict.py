"""From facts to findings: which judge is asked what, and what a cause makes pointless to ask.

Pure. One cause is one finding: a pipe that nobody reads says nothing of sessions, a Patroni
that does not answer nothing of its ttl, a VIP that is missing nothing of what it announces.
"""

from __future__ import annotations

from collections.abc import Iterable

from pgcast_hooks import asking
from pgcast_hooks.check import (
    access,
    callbacks,
    clock,
    host,
    member,
    settings,
    speaker,
    standing,
)
from pgcast_hooks.check.facts import Facts
from pgcast_hooks.check.finding import (
    Figure,
    Finding,
    Severity,
    critical,
    unknown,
    worst,
)
from pgcast_hooks.check.range import Range
from pgcast_hooks.errors import NoAnswer, PipeMissing, PipeUnusable
from pgcast_hooks.exabgp import Answer
from pgcast_hooks.model import Eligibility, Observation, Prefix, Question, RibEntry
from pgcast_hooks.neighbors import ESTABLISHED
from pgcast_hooks.settings import Cluster, Config


def judge(
    config: Config, facts: Facts, ours: callbacks.Ours, allowed: tuple[Range, Range]
) -> list[Finding]:
    """Every finding, in the order in which a reader would go: host, ExaBGP, Patroni, routes."""
    found = _users(config, facts)
    pipe = access.judge_pipe(facts.tried)
    found += [*pipe, *_exabgp(config, facts, pipe)]
    for cluster in config.clusters.values():
        if cluster.scope in facts.members:
            found += _cluster(config, cluster, facts, ours)
    if not any(finding.name == "host.clock" for finding in found):
        found.append(clock.judge_kept(facts.synchronised))
    vips = {one.vip: one for one in facts.vips.values()}.values()
    if facts.exabgp or facts.exabgp_error:
        found += host.judge_network(vips, facts.network)
    found += _routes(config, facts)
    for name in facts.late:
        text = "gave no whole answer in the time there was"
        found.append(unknown("check.time", name, text, "pgcast check --timeout 30"))
    found += _reconciler(facts, found, allowed)
    return found + _lax(config, facts)


def _lax(config: Config, facts: Facts) -> list[Finding]:
    """What is less strict than it could be, and explains nothing of the rest."""
    clusters = config.clusters.values()
    unverified = [one for each in clusters for one in member.judge_verified(each)]
    return unverified + access.judge_secret(facts.tried)


def _is_well(findings: Iterable[Finding]) -> bool:
    return worst(findings) is Severity.OK


def _users(config: Config, facts: Facts) -> list[Finding]:
    """What the users that run pgcast may do, but for the pipe."""
    found = []
    if facts.silent:
        advice = f"is its file system there? mount; ls -l {config.state_dir}"
        found = [critical("state.usable", config.state_dir, facts.silent, advice)]
    if facts.blind:
        advice = f"run it as root, or as {facts.account.name}"
        return [*found, unknown("check.user", facts.account.name, facts.blind, advice)]
    found += access.judge_readable(facts.tried)
    if facts.silent:
        return found
    owner = facts.account.name
    return [
        *found,
        *access.judge_state(config.state_dir, facts.tried, owner),
        *access.judge_space(config.state_dir, facts.room),
    ]


def _exabgp(config: Config, facts: Facts, pipe: list[Finding]) -> list[Finding]:
    answer, error = facts.exabgp, facts.exabgp_error
    if answer:
        ttls = [look.ttl for look in facts.members.values() if look.ttl]
        routes = [r for cluster in config.clusters.values() for r in cluster.routes]
        return [
            *speaker.judge_version(answer.version),
            *speaker.judge_sessions(answer.neighbors, min(ttls, default=None)),
            *speaker.judge_families(answer.neighbors, routes),
        ]
    if error is None or not _is_well(pipe):
        return []
    text = str(error)
    if isinstance(error, PipeMissing):
        advice = "systemctl restart exabgp"
        return [critical("pipe.reader", error.path, "nobody reads it", advice)]
    if isinstance(error, PipeUnusable):
        return (
            []
            if facts.blind
            else [critical("pipe.usable", error.path, error.reason, "ls -l")]
        )
    if isinstance(error, NoAnswer):
        advice = "systemctl restart exabgp; pgcast reconcile"
        return [critical("exabgp.answers", "ExaBGP", text, advice)]
    return [unknown("exabgp.answers", "ExaBGP", text, "pgcast show")]


def _cluster(
    config: Config, cluster: Cluster, facts: Facts, ours: callbacks.Ours
) -> list[Finding]:
    """Patroni, its callbacks, and PostgreSQL on the VIPs."""
    scope, look = cluster.scope, facts.members[cluster.scope]
    found = member.judge(cluster, look)
    names = {f.name for f in found if f.severity is not Severity.OK}
    answers = look.member.answer is not None and not names & {
        "patroni.reachable",
        "patroni.scope",
    }
    if answers:
        rules, timeout = config.reconcile, cluster.patroni.timeout
        found.append(member.judge_ttl(scope, look.ttl, rules, facts.interval, timeout))
        found += clock.judge_clocks(_offsets(look))
        ends = facts.certificates.get(scope, {})
        found += clock.judge_certificates(scope, ends, facts.now)
    if "patroni.scope" not in names:
        found += _callbacks(scope, look, facts, ours, answers)
    for route in cluster.routes:
        vip = facts.vips[route.prefix]
        found.append(host.judge_carried(vip))
        listens = host.judge_listens(vip)
        # A PostgreSQL that Patroni has not started listens nowhere.
        if _is_well(listens) or (answers and "patroni.state" not in names):
            found += listens
    return found


def _offsets(look: member.Look) -> dict[str, float]:
    offsets = {}
    for name, asked in look.others.items():
        theirs = clock.of_date(asked.answer.date if asked.answer else None)
        if theirs is not None:
            offsets[name] = asked.at - theirs
    return offsets


def _callbacks(
    scope: str,
    look: member.Look,
    facts: Facts,
    ours: callbacks.Ours,
    answers: bool,
) -> list[Finding]:
    source = facts.sources.get(scope)
    dynamic = look.settings.answer.body if look.settings.answer else None
    if source is None or isinstance(source.local, str):
        if source is None and not answers:
            return []  # a Patroni that does not run, and has its file elsewhere
        if not source or not settings.effective(source, dynamic).callbacks:
            return [callbacks.unreadable(source)]
    commands = settings.effective(source, dynamic)
    version = member.version_of(look.about) if answers else None
    has_before_stop = version is None or version >= member.BEFORE_STOP_SINCE
    trouble = facts.trouble
    return callbacks.judge(
        scope, commands, has_before_stop, trouble, facts.wrappers, ours
    )


def wrong_routes(config: Config, facts: Facts) -> bool:
    """Whether some route stands otherwise than it must: perhaps only at this moment."""
    return any(
        one.name == "route.announced" and one.severity is not Severity.OK
        for one in _routes(config, facts)
    )


def _routes(config: Config, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    if facts.silent:
        return []  # an override may stand
    for cluster in config.clusters.values():
        for route in cluster.routes:
            override = facts.overrides.get(route.prefix)
            found += standing.judge_override(cluster.scope, route, override)
            look = facts.members.get(cluster.scope)
            vip = facts.vips.get(route.prefix)
            if facts.exabgp is None or look is None or vip is None or not vip.here:
                continue
            have = entries(facts.exabgp, route.prefix)
            answers = {q: _judged(look, q) for q in route.questions}
            seen = asking.earned(route, answers)
            found += standing.judge_route(route, seen, override, have)
    return found


def _judged(look: member.Look, question: Question) -> Observation:
    answer = look.answers[question].answer
    if answer is None:
        why = "Patroni does not answer"
        return Observation(Eligibility.UNKNOWN, why, question=question)
    return asking.judge(answer, look.cluster.scope, question)


def entries(answer: Answer, prefix: Prefix) -> list[RibEntry]:
    """What of Adj-RIB-Out is about a prefix."""
    return [entry for entry in answer.adj_rib_out if entry.prefix == prefix]


def _reconciler(
    facts: Facts, others: list[Finding], allowed: tuple[Range, Range]
) -> list[Finding]:
    """The reconciler leaves its traces in the state directory, if it can, under its pipe's name:
    with the wrong pipe they are another's."""
    names = {f.name for f in others if f.severity is not Severity.OK}
    if names & {"state.usable", "check.user", "pipe.present", "pipe.fifo"}:
        return []
    found = standing.judge_reconciler(facts.running, allowed)
    # What it complains of is said better above, where anything is wrong at all.
    if _is_well(others) and _is_well(found):
        found += standing.judge_trouble(facts.running)
    return found


def figures(config: Config, facts: Facts, found: list[Finding]) -> dict[str, Figure]:
    """What can be drawn: ages and counts."""
    told: dict[str, Figure] = {}
    last = facts.running.last
    if last is not None and last.ago != float("inf"):
        told["reconciler_age"] = Figure(last.ago, "s")
    if facts.exabgp:
        neighbors = facts.exabgp.neighbors
        up = sum(one.state == ESTABLISHED for one in neighbors)
        told["neighbors_established"] = Figure(up, most=len(neighbors))
        prefixes = [r.prefix for c in config.clusters.values() for r in c.routes]
        standing = sum(bool(entries(facts.exabgp, prefix)) for prefix in prefixes)
        told["routes_announced"] = Figure(standing, most=len(prefixes))
    for severity in (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN):
        number = sum(one.severity is severity for one in found)
        told[f"findings_{severity.value.lower()}"] = Figure(number)
    return told
