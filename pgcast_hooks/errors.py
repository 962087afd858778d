"""What can go wrong, one class each, with the exit code that tells the caller what to
do about it.

Exit codes follow BSD's sysexits.h. The text of an error is one line that names the
object and the next step.
"""

from __future__ import annotations

from collections.abc import Sequence

EX_OK = 0
EX_USAGE = 2  # click's and argparse's number for it, not sysexits' 64
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_TEMPFAIL = 75
EX_PROTOCOL = 76
EX_CONFIG = 78


class PgcastError(Exception):
    """The base of every error that pgcast expects to meet."""

    exit_code = EX_SOFTWARE


class UsageError(PgcastError):
    """The command line makes no sense."""

    exit_code = EX_USAGE


class ConfigError(PgcastError):
    """The configuration file has mistakes; all of them, each with the path of its
    key."""

    exit_code = EX_CONFIG

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return f"{self.path}: " + "; ".join(self.problems)


class LibraryMissing(PgcastError):
    """A library of an optional extra is asked for and not installed."""

    exit_code = EX_CONFIG

    def __init__(self, option: str, library: str, python: str) -> None:
        super().__init__(option, library, python)
        self.option = option
        self.library = library
        self.python = python

    def __str__(self) -> str:
        return (
            f"{self.option} needs {self.library}, which is not installed:"
            f" {self.python} -m pip install {self.library}"
        )


class UnknownScope(PgcastError):
    """A scope that the configuration does not name."""

    exit_code = EX_CONFIG

    def __init__(self, scope: str, configured: Sequence[str]) -> None:
        super().__init__(scope, configured)
        self.scope = scope
        self.configured = tuple(configured)

    def __str__(self) -> str:
        return f"scope {self.scope!r} is not configured: under 'clusters' there is {', '.join(self.configured)}"


class UnknownPrefix(PgcastError):
    """A prefix that the configuration does not name for the scope."""

    exit_code = EX_USAGE

    def __init__(self, prefix: str, scope: str, configured: Sequence[str]) -> None:
        super().__init__(prefix, scope, configured)
        self.prefix = prefix
        self.scope = scope
        self.configured = tuple(configured)

    def __str__(self) -> str:
        return f"{self.prefix} is not a route of scope {self.scope}: configured are {', '.join(self.configured)}"


class PatroniUnreachable(PgcastError):
    """Patroni's REST API gave no answer."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"Patroni at {self.url} {self.reason}"


class NotConfirmed(PgcastError):
    """Patroni did not confirm the role that earns the route."""

    exit_code = EX_TEMPFAIL

    def __init__(self, prefix: str, reason: str, waited: float) -> None:
        super().__init__(prefix, reason, waited)
        self.prefix = prefix
        self.reason = reason
        self.waited = waited

    def __str__(self) -> str:
        return (
            f"{self.prefix} is not announced: after {self.waited:.1f} s {self.reason}"
        )


class PipeMissing(PgcastError):
    """Nothing reads ExaBGP's pipe, or there is none."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, path: str, absent: str | None = None) -> None:
        """`path` is that of `.in`, `absent` the one of the two that does not exist."""
        super().__init__(path, absent)
        self.path = path
        self.absent = absent

    def __str__(self) -> str:
        if self.absent:
            why = f"{self.absent} does not exist: make it (mkfifo) and restart ExaBGP"
        else:
            why = "is it running, and was it started after the pipe was made (mkfifo)?"
        return f"ExaBGP is not reading {self.path}: {why}"


class PipeUnusable(PgcastError):
    """The pipe is there but is not one that this user can use."""

    exit_code = EX_CONFIG

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class PipeBusy(PgcastError):
    """Another pgcast held the pipe for the whole time that was given."""

    exit_code = EX_TEMPFAIL

    def __init__(self, path: str, waited: float, written: bool = False) -> None:
        super().__init__(path, waited, written)
        self.path = path
        self.waited = waited
        self.written = written

    def __str__(self) -> str:
        what = (
            "the withdrawal was written all the same, unverified"
            if self.written
            else "no route was changed"
        )
        return f"another pgcast held {self.path} for {self.waited:.1f} s: {what}; look with 'pgcast show'"


class NoAnswer(PgcastError):
    """ExaBGP took the command, or could not even take it, and did not answer in
    time."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, path: str, waited: float, taken: bool) -> None:
        super().__init__(path, waited, taken)
        self.path = path
        self.waited = waited
        self.taken = taken

    def __str__(self) -> str:
        if not self.taken:
            return (
                f"ExaBGP does not empty {self.path}: nothing written in"
                f" {self.waited:.1f} s; does it hang?"
            )
        return (
            f"ExaBGP took the commands on {self.path} but did not answer them all within"
            f" {self.waited:.1f} s: its log tells more, 'pgcast show' the result"
        )


class Rejected(PgcastError):
    """ExaBGP answered `error`, and the route read back is not the one that is
    wanted."""

    exit_code = EX_PROTOCOL

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__(differences)
        self.differences = tuple(differences)

    def __str__(self) -> str:
        return (
            f"ExaBGP rejected a command: {'; '.join(self.differences)}; has it a neighbor"
            " for it? see its log"
        )


class NotApplied(PgcastError):
    """ExaBGP accepted the commands, but the route read back is not the one that is
    wanted."""

    exit_code = EX_TEMPFAIL

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__(differences)
        self.differences = tuple(differences)

    def __str__(self) -> str:
        return f"ExaBGP accepted the commands, but {'; '.join(self.differences)}"


class UnexpectedAnswer(PgcastError):
    """A line of Adj-RIB-Out that pgcast cannot read."""

    exit_code = EX_PROTOCOL

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line

    def __str__(self) -> str:
        return f"ExaBGP's Adj-RIB-Out has a line that pgcast cannot read: {self.line[:200]!r}"


class FenceExhausted(PgcastError):
    """The timeline has reached the base of the MED fence."""

    exit_code = EX_CONFIG

    def __init__(self, prefix: str, base: int, timeline: int) -> None:
        super().__init__(prefix, base, timeline)
        self.prefix = prefix
        self.base = base
        self.timeline = timeline

    def __str__(self) -> str:
        return (
            f"{self.prefix} cannot be announced: timeline {self.timeline} leaves no MED below the fence's base"
            f" {self.base}; raise 'base' on every member"
        )


class Superseded(PgcastError):
    """A callback, an operator or the reconciler acted while this process was looking: what it
    saw counts no more."""

    exit_code = EX_TEMPFAIL
    written = False  # whether the commands were carried out before that was noticed

    def __str__(self) -> str:
        return "somebody else acted in the meantime, see 'pgcast history': nothing was changed"


class OverrideNotKept(PgcastError):
    """An operator's standing order could not be written."""

    exit_code = EX_CONFIG

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"the order does not stand: {self.path} cannot be written: {self.reason}; see state_dir"


class NotEarned(PgcastError):
    """Patroni does not say that this member earns a route that an operator wants
    announced."""

    exit_code = EX_TEMPFAIL

    def __init__(self, prefix: str, reason: str, earner: str) -> None:
        super().__init__(prefix, reason, earner)
        self.prefix = prefix
        self.reason = reason
        self.earner = earner

    def __str__(self) -> str:
        return (
            f"{self.prefix} is not announced: {self.reason}; {self.earner}; --yes announces"
            " it all the same, as the last resort at the router"
        )


class AlreadyRunning(PgcastError):
    """Another reconciler is alive."""

    exit_code = EX_TEMPFAIL

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(path, holder)
        self.path = path
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"another reconciler is running, process {self.holder or 'unknown'}, which"
            f" holds {self.path}: nothing was changed"
        )


class HistoryUnusable(PgcastError):
    """The history is there, but cannot be read."""

    exit_code = EX_CONFIG

    def __init__(self, trouble: str) -> None:
        super().__init__(trouble)
        self.trouble = trouble

    def __str__(self) -> str:
        return (
            f"{self.trouble}; read it as the owner of the state directory, or as root"
        )
