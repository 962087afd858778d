"""What a pass of the reconciler tells on its way, so that one that fails tells what it saw
before it did.

Must not keep a pass from what it does: nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from pgcast_hooks.exabgp import Answer
from pgcast_hooks.model import Observation, Question, Want


class Witness:
    """Is told of one pass after the other, each within `with`; this one does nothing with it."""

    trouble: str | None = None

    def __enter__(self) -> Witness:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The pass has ended, with `error` where it failed."""

    def looked(
        self, observations: Mapping[tuple[str, Question], Observation], want: Want
    ) -> None:
        """Patroni was asked, and this follows from it; the last look counts."""

    def answered(self, answer: Answer) -> None:
        """ExaBGP was asked; the last answer counts."""


NOBODY = Witness()
