"""One callback of Patroni from start to finish: `pgcast-callback [--config FILE] ACTION
ROLE SCOPE`.

A callback is a hint about when to look, and a withdrawal needs no looking: routes that
the callback's action and role do not earn are withdrawn before anything else, and only
then is Patroni asked about the others. Patroni drops the exit status, kills a callback
that still runs when the next one is due, and hands stderr to its own log: one line
there is the report.

Kept light, because a process start is most of a withdrawal's time: no click, no
logging, and an HTTP library only once Patroni must be asked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pgcast_hooks import policy
from pgcast_hooks.apply import apply
from pgcast_hooks.config import load
from pgcast_hooks.errors import (
    EX_OK,
    EX_SOFTWARE,
    PgcastError,
    Superseded,
    UnknownScope,
    UsageError,
)
from pgcast_hooks.hands import Host, host
from pgcast_hooks.model import Callback, Hint, Prefix, Route
from pgcast_hooks.settings import Cluster, Config

LOOKS = 5  # how often it looks again because somebody acted meanwhile
USAGE = "usage: pgcast-callback [--config FILE] ACTION ROLE SCOPE"
HELP = """One callback of Patroni: named in patroni.yml under postgresql.callbacks, where Patroni adds
the three arguments, and as before_stop with "before_stop - SCOPE". Withdraws the routes of the
scope, or announces them once Patroni confirms the role. See also: pgcast --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """The script's entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["-h"], ["--help"]):
        print(f"{USAGE}\n\n{HELP}")
        return EX_OK
    try:
        path, callback = parse(arguments)
        said = run(callback, load(path))
        code = EX_OK
    except PgcastError as error:
        said, code = str(error), error.exit_code
    except Exception as error:
        # One line even for a bug: Patroni's log is no place for a traceback.
        said, code = f"bug in pgcast, please report it: {_where(error)}", EX_SOFTWARE
    if said:
        line = f"{' '.join(['pgcast-callback', *arguments])}: {said}"
        line = " ".join(line.split())
        print("".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)
    return code


def _where(error: Exception) -> str:
    """What was raised, and the innermost place where it was."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__}: {error} at {place}"


def parse(arguments: list[str]) -> tuple[str | None, Callback]:
    """The configuration's path, if one is given, and the callback. Raises
    UsageError."""
    path = None
    if arguments and arguments[0] == "--config":
        if len(arguments) < 2:
            raise UsageError(USAGE)
        path, arguments = arguments[1], arguments[2:]
    elif arguments and arguments[0].startswith("--config="):
        path, arguments = arguments[0].partition("=")[2], arguments[1:]
    if len(arguments) != 3:
        raise UsageError(
            f"{USAGE}; got {len(arguments)} arguments, see examples/patroni.yml"
        )
    action, role, scope = arguments
    return path, Callback(action, role, scope)


def run(callback: Callback, config: Config) -> str:
    """Do what one callback asks for; returns the report, one line.

    Raises PgcastError.
    """
    cluster = config.clusters.get(callback.scope)
    if cluster is None:
        raise UnknownScope(callback.scope, list(config.clusters))
    hands = host(config, "callback", " ".join(callback))
    hands.state.raise_generation()
    for _ in range(LOOKS):
        try:
            hints, said = _withdraw(callback, cluster, hands)
            break
        except Superseded:
            continue  # the order was just changed
    else:
        raise Superseded
    asked = [route for route in cluster.routes if hints[route] is not Hint.WITHDRAW]
    if asked:
        # Imported here, because a withdrawal does not pay for HTTP.
        from pgcast_hooks.confirm import confirm, look

        if any(hints[route] is Hint.CONFIRM for route in asked):
            said += confirm(
                hands,
                cluster,
                asked,
                config.callback.deadline,
                config.callback.poll_interval,
                callback.role,
            )
        else:
            said += look(hands, cluster, asked)
    hands.overrides.tidy(route.prefix for route in cluster.routes)
    return "; ".join([*said, *hands.troubles()])


def _withdraw(
    callback: Callback, cluster: Cluster, hands: Host
) -> tuple[dict[Route, Hint], list[str]]:
    """Withdraw what needs no looking; returns the hints for all routes, and what was done.

    Raises Superseded where an order to withdraw was all there was for it, and somebody acted
    meanwhile: it may be ended by now.
    """
    seen = hands.state.generation()
    hints: dict[Route, Hint] = {}
    ordered: dict[Prefix, str] = {}
    for route in cluster.routes:
        override = hands.overrides.standing(route.prefix)
        hints[route] = policy.hint(callback, route, override)
        if override and policy.hint(callback, route) is not Hint.WITHDRAW:
            ordered[route.prefix] = policy.phrase(override)
    gone = [route.prefix for route in hints if hints[route] is Hint.WITHDRAW]
    certain = [prefix for prefix in gone if prefix not in ordered]
    if certain:
        apply(hands, dict.fromkeys(certain), {})
    others = [prefix for prefix in gone if prefix in ordered]
    if others:
        apply(hands, dict.fromkeys(others), ordered, seen)
    words = [f"{p} ({ordered[p]})" if p in ordered else str(p) for p in gone]
    return hints, [f"withdrew {', '.join(words)}"] if words else []
