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
from pgcast_hooks.apply import apply, host
from pgcast_hooks.config import load
from pgcast_hooks.errors import (
    EX_OK,
    EX_SOFTWARE,
    PgcastError,
    UnknownScope,
    UsageError,
)
from pgcast_hooks.model import Callback, Config, Hint

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
        print(" ".join(line.split()), file=sys.stderr)
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
    hints, reasons = {}, {}
    for route in cluster.routes:
        override = hands.overrides.standing(route.prefix)
        hints[route] = policy.hint(callback, route.role, override)
        if override:
            reasons[route.prefix] = policy.phrase(override)
    said = []
    gone = [route.prefix for route in hints if hints[route] is Hint.WITHDRAW]
    if gone:
        apply(hands, dict.fromkeys(gone), reasons)
        words = [f"{p} ({reasons[p]})" if p in reasons else str(p) for p in gone]
        said.append(f"withdrew {', '.join(words)}")
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
            )
        else:
            said += look(hands, cluster, asked)
    return "; ".join([*said, *hands.troubles()])
