"""What would break on the night, found before it: everything is looked at and judged, and
nothing is changed.

`facts` looks, the judges are pure functions, `verdict` knows which cause explains what.
"""

from __future__ import annotations

import os
import sys
import time
from typing import NamedTuple

from pgcast_hooks import config as configuration
from pgcast_hooks.check import facts, verdict
from pgcast_hooks.check.callbacks import SCRIPT, Ours
from pgcast_hooks.check.finding import Finding, Report, critical, ok
from pgcast_hooks.check.range import Range
from pgcast_hooks.check.standing import thresholds
from pgcast_hooks.errors import ConfigError

AGAIN = 1.0  # seconds until a route that stands wrong is looked at once more


class Options(NamedTuple):
    """How to check. `seconds` is for all of it; `ranges` are for the age of the last pass."""

    seconds: float = 10.0
    patroni_config: str | None = None
    ranges: tuple[Range | None, Range | None] = (None, None)


class Run(NamedTuple):
    """A report, and the ranges that its figures were held against."""

    report: Report
    allowed: dict[str, tuple[Range, Range]]


def run(path: str, options: Options) -> Run:
    """Check this host, with the configuration of a file, in the time there is."""
    deadline = time.monotonic() + options.seconds
    try:
        config = configuration.load(path)
    except ConfigError as error:
        advice = "mend it; pgcast check-config"
        found = [critical("config.valid", path, why, advice) for why in error.problems]
        return Run(Report(tuple(found), {}), {})
    seen = facts.gather(config, path, options.patroni_config, deadline)
    if verdict.wrong_routes(config, seen) and time.monotonic() + AGAIN < deadline:
        # A callback or the reconciler may be about to set it right.
        time.sleep(AGAIN)
        seen = facts.gather(config, path, options.patroni_config, deadline)
    allowed = thresholds(seen.running.last, options.ranges)
    ours = Ours(_script(), os.path.abspath(path))
    judged = [ok("config.valid", path, "is valid")]
    judged += verdict.judge(config, seen, ours, allowed)
    figures = verdict.figures(config, seen, judged)
    return Run(Report(tuple(judged), figures), {"reconciler_age": allowed})


def _script() -> str | None:
    """This installation's callback script."""
    for program in (sys.argv[0], sys.executable):
        path = os.path.join(os.path.dirname(os.path.abspath(program)), SCRIPT)
        if os.access(path, os.X_OK):
            return path
    return None


__all__ = ["Finding", "Options", "Report", "Run", "run"]
