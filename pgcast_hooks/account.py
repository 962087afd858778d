"""What this process gives account of: who or what made it act, and each change and refusal
as an event of the history, once.

Knows neither Patroni nor ExaBGP, and decides nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence

from pgcast_hooks.eventline import LONGEST_TEXT
from pgcast_hooks.history import History
from pgcast_hooks.model import Event, Prefix

_FIGURES = re.compile(r"\d+(\.\d+)?(?= (s|ms)\b)|(?<=process )\d+")
CHANGED, UNCHANGED = "changed", "unchanged"
REFUSED, FAILED = "refused", "failed"
OPERATOR = "operator"  # the cause of what a command does by the way


class Account:
    """`cause` and `trigger` as in `model.Event`; `scopes`: the scope of each prefix."""

    def __init__(
        self, history: History, cause: str, trigger: str, scopes: Mapping[Prefix, str]
    ) -> None:
        self.history = history
        self.cause = cause
        self._trigger = trigger
        self._scopes = scopes
        self._told: dict[Prefix, tuple[str, str | None, str]] = {}
        self._standing: frozenset[str] | None = None  # None: not known
        self._start: float | None = None  # None: when this process was made

    def begin(self) -> None:
        """Milliseconds count from here, and no longer from the start of the process."""
        self._start = _now()

    def begun(self, troubles: Iterable[str], before: Iterable[str]) -> list[str]:
        """Those that did not stand at this process's pass before; at its first, those
        that are not among `before`, which the last process noted.

        Each must be cut as the record of a pass cuts it, or a long one begins at every
        pass. What a loop knows by itself comes first: the record may be one that could not
        be written for a long time.
        """
        kinds = {trouble: without_figures(trouble) for trouble in troubles}
        stood = self._standing
        if stood is None:
            stood = frozenset(map(without_figures, before))
        self._standing = frozenset(kinds.values())
        return [trouble for trouble, kind in kinds.items() if kind not in stood]

    def acted(
        self,
        commands: Mapping[Prefix, str],
        reasons: Mapping[Prefix, str],
        have: Mapping[Prefix, Sequence[str]] | None = None,
        errors: Mapping[Prefix, str] | None = None,
    ) -> None:
        """Commands were carried out, or failed with `errors`.

        Where nobody looked how the routes stood (`have` is None), a command that repeats the
        last one changed nothing: a callback withdraws what is withdrawn already.
        """
        errors = errors or {}
        before = {} if have is not None else self.history.lately()

        def result(prefix: Prefix, command: str) -> str:
            if prefix in errors:
                return FAILED
            same = before.get(str(prefix)) == command[:LONGEST_TEXT]  # it is cut there
            return UNCHANGED if same else CHANGED

        if not errors:
            self._told.clear()
        self._tell(
            self._event(prefix, reasons.get(prefix))._replace(
                want=command,
                have="; ".join(have[prefix]) if have else None,
                result=result(prefix, command),
                error=errors.get(prefix),
            )
            for prefix, command in commands.items()
        )

    def failed(self, prefixes: Iterable[Prefix], error: str) -> None:
        """It could not even be found out how routes stand."""
        self._tell(
            self._event(prefix)._replace(result=FAILED, error=error)
            for prefix in prefixes
            if prefix not in self._told
        )

    def refused(self, reasons: Mapping[Prefix, str]) -> None:
        """Routes were not announced, for what Patroni or an override said."""
        self._tell(self._event(*item) for item in reasons.items())

    def _event(self, prefix: Prefix, observation: str | None = None) -> Event:
        now = _now()
        start = _process_start(now) if self._start is None else self._start
        return Event(
            cause=self.cause,
            trigger=self._trigger,
            scope=self._scopes.get(prefix, ""),
            prefix=prefix,
            want=None,
            have=None,
            observation=observation,
            result=REFUSED,
            error=None,
            milliseconds=max(0.0, now - start) * 1000,
        )

    def _tell(self, events: Iterable[Event]) -> None:
        """Append; what fails again and again, for the same reason, is one event."""
        new = []
        for event in events:
            kind = (event.result, event.want, without_figures(event.error or ""))
            if event.result != FAILED or self._told.get(event.prefix) != kind:
                new.append(event)
            self._told[event.prefix] = kind
        self.history.append(new)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _process_start(now: float) -> float:
    """When this process was made, in seconds since boot, to the kernel's tick of 10 ms: to
    start the interpreter is a good part of what a callback takes."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return now


def without_figures(text: str) -> str:
    """A text without what changes from one time to the next: lengths of time, and processes."""
    return _FIGURES.sub("", text)
