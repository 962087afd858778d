"""What this process gives account of: who or what made it act, and each change and refusal
as an event of the history, once.

Knows neither Patroni nor ExaBGP, and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from pgcast_hooks.history import History
from pgcast_hooks.model import Event, Prefix

CHANGED, REFUSED, FAILED = "changed", "refused", "failed"


class Account:
    """`cause` and `trigger` as in `model.Event`; `scopes`: the scope of each prefix."""

    def __init__(
        self, history: History, cause: str, trigger: str, scopes: Mapping[Prefix, str]
    ) -> None:
        self.history = history
        self._cause = cause
        self._trigger = trigger
        self._scopes = scopes
        self._told: dict[Prefix, tuple[str, str | None, str]] = {}
        self.begin()

    def begin(self) -> None:
        """Milliseconds count from here."""
        self._start = time.monotonic()

    def acted(
        self,
        commands: Mapping[Prefix, str],
        reasons: Mapping[Prefix, str],
        have: Mapping[Prefix, Sequence[str]] | None = None,
        error: Exception | None = None,
    ) -> None:
        """Commands were carried out, or tried."""
        result = FAILED if error else CHANGED
        if not error:
            self._told.clear()
        self._tell(
            Event(
                cause=self._cause,
                trigger=self._trigger,
                scope=self._scopes.get(prefix, ""),
                prefix=prefix,
                want=command,
                have="; ".join(have[prefix]) if have else None,
                observation=reasons.get(prefix),
                result=result,
                error=str(error) if error else None,
                milliseconds=self._milliseconds(),
            )
            for prefix, command in commands.items()
        )

    def refused(self, reasons: Mapping[Prefix, str]) -> None:
        """Routes were not announced, for what Patroni or an override said."""
        self._tell(
            Event(
                cause=self._cause,
                trigger=self._trigger,
                scope=self._scopes.get(prefix, ""),
                prefix=prefix,
                want=None,
                have=None,
                observation=reason,
                result=REFUSED,
                error=None,
                milliseconds=self._milliseconds(),
            )
            for prefix, reason in reasons.items()
        )

    def _milliseconds(self) -> float:
        return (time.monotonic() - self._start) * 1000

    def _tell(self, events: Iterable[Event]) -> None:
        """Append; what fails again and again, for the same reason, is one event."""
        new = []
        for event in events:
            kind = (event.result, event.want, without_figures(event.error or ""))
            if event.result != FAILED or self._told.get(event.prefix) != kind:
                new.append(event)
            self._told[event.prefix] = kind
        self.history.append(new)


def without_figures(text: str) -> str:
    """A text without what changes from one time to the next."""
    return "".join(letter for letter in text if not letter.isdigit())
